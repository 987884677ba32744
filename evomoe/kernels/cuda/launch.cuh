#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "evomoe/kernels/cuda/bfloat16.h"
#include "evomoe/kernels/cuda/launch.h"

/// How kernels are started: blocks of threads that walk over rows, each thread over some columns.
namespace evomoe::kernels::cuda {

constexpr int kWarp = 32;
constexpr int kMostThreads = 256;

/// Some elements that are loaded and stored at once.
template <typename T, int N>
struct alignas(N * sizeof(T)) Pack {
  T value[N];
};

template <typename T, int N>
__device__ Pack<T, N> load(const T* x, int64_t pack) {
  return reinterpret_cast<const Pack<T, N>*>(x)[pack];
}

template <typename T, int N>
__device__ void store(T* x, int64_t pack, const Pack<T, N>& value) {
  reinterpret_cast<Pack<T, N>*>(x)[pack] = value;
}

template <int N>
using PackOf = std::integral_constant<int, N>;

/// Calls body(PackOf<N>) with the `most` elements that may be loaded at once where rows of
/// `columns` and all `pointers` (null ones do not matter) are aligned to them, else with 1.
template <int most, typename Body, typename T, typename... Pointers>
void with_pack(int64_t columns, const Body& body, const T* first, Pointers... pointers) {
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % (most * sizeof(T)) == 0;
  };
  if (columns % most == 0 && aligned(first) && (aligned(pointers) && ...)) {
    body(PackOf<most>());
  } else {
    body(PackOf<1>());
  }
}

/// The elements of T in 16 bytes, the most that a thread loads at once.
template <typename T>
constexpr int wide() {
  return 16 / sizeof(T);
}

/// Threads of a block that does `work` things at a time: whole warps, kMostThreads at most.
inline int threads_for(int64_t work) {
  return static_cast<int>(
      std::clamp<int64_t>((work + kWarp - 1) / kWarp * kWarp, kWarp, kMostThreads));
}

/// Blocks for `work` blocks' worth: kernels take further steps where a grid cannot be as large.
inline int64_t blocks_for(int64_t work) { return std::min<int64_t>(work, int64_t{1} << 30); }

/// Starts kernel<<<blocks, threads, 0, stream>>>(arguments...); nothing for 0 blocks.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), int64_t blocks, int threads,
            void* stream, Arguments... arguments) {
  if (blocks == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error =
      cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  if (error != cudaSuccess) fail_launch(name, cudaGetErrorString(error));
}

}  // namespace evomoe::kernels::cuda
