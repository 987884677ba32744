#pragma once

/// Marks a function that CUDA kernels call as well; nothing to compilers of plain C++.
#if defined(__CUDACC__)
#define EVOMOE_HOST_DEVICE __host__ __device__
#else
#define EVOMOE_HOST_DEVICE
#endif
