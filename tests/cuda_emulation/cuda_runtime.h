#pragma once

// As much of CUDA's runtime as evomoe/kernels/cuda needs, on the CPU: the sources of the kernels,
// compiled as plain C++ with this header before CUDA's, run here one thread at a time. That shows
// that their arithmetic, indices and barriers are right. It shows nothing of a GPU's memory, of its
// math library or of speed.

#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __shared__ static

struct dim3 {
  unsigned x = 1;
  dim3() = default;
  explicit dim3(unsigned size) : x(size) {}
};

/// Of the thread that runs.
extern dim3 gridDim, blockDim, blockIdx, threadIdx;

/// Returns when every thread of the block has come here.
void __syncthreads();

namespace cuda_emulation {

constexpr unsigned kMostThreads = 256;

/// Runs `kernel` for all threads of all blocks. Throws if a thread ends while another one waits.
void run(unsigned blocks, unsigned threads, const std::function<void()>& kernel);

/// What each thread of the block offers to the others.
extern uint64_t offered[kMostThreads];

}  // namespace cuda_emulation

/// The value of the thread whose number differs in `bits`; all threads of the block must call it.
template <typename Value>
Value __shfl_xor_sync(unsigned /*mask*/, Value value, int bits) {
  static_assert(sizeof(Value) <= sizeof(uint64_t));
  std::memcpy(&cuda_emulation::offered[threadIdx.x], &value, sizeof value);
  __syncthreads();
  std::memcpy(&value, &cuda_emulation::offered[threadIdx.x ^ static_cast<unsigned>(bits)],
              sizeof value);
  __syncthreads();
  return value;
}

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorNoDevice = 100 };
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor, cudaDevAttrComputeCapabilityMinor };

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  cudaStream_t stream = nullptr;
};

inline const char* cudaGetErrorString(cudaError_t) { return "this is the CPU"; }

inline cudaError_t cudaDeviceGetAttribute(int*, cudaDeviceAttr, int) { return cudaErrorNoDevice; }

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  cuda_emulation::run(config->gridDim.x, config->blockDim.x, [=] { kernel(arguments...); });
  return cudaSuccess;
}
