// The CUDA kernels as plain C++. <cuda_runtime.h> is the one of this folder.
#include "evomoe/kernels/cuda/activation.cu"
#include "evomoe/kernels/cuda/device.cu"
#include "evomoe/kernels/cuda/noise.cu"
#include "evomoe/kernels/cuda/rows.cu"
#include "evomoe/kernels/cuda/softmax_cross_entropy.cu"
