#include <cuda_runtime.h>

#include "evomoe/kernels/cuda/device.h"
#include "evomoe/kernels/cuda/launch.h"

namespace evomoe::kernels::cuda {

int compute_capability(int device) {
  const auto attribute = [&](cudaDeviceAttr name) {
    int value = 0;
    const cudaError_t error = cudaDeviceGetAttribute(&value, name, device);
    if (error != cudaSuccess) fail_device(device, cudaGetErrorString(error));
    return value;
  };
  return 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
         attribute(cudaDevAttrComputeCapabilityMinor);
}

}  // namespace evomoe::kernels::cuda
