#pragma once

#include "evomoe/kernels/cuda/launch.cuh"

namespace evomoe::kernels::cuda {

/// combine() over the values of a block's threads (whole warps), in an order that does not vary.
/// All threads must come here, and all get the result.
template <typename Value, typename Combine>
__device__ Value block_reduce(Value value, const Combine& combine) {
  __shared__ Value of_warp[kMostThreads / kWarp];
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = combine(value, __shfl_xor_sync(0xFFFFFFFF, value, distance));
  }
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
  __syncthreads();
  Value result = of_warp[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) {
    result = combine(result, of_warp[warp]);
  }
  __syncthreads();  // before of_warp is written again
  return result;
}

struct Sum {
  template <typename Value>
  __device__ Value operator()(Value a, Value b) const {
    return a + b;
  }
};

struct Maximum {
  __device__ float operator()(float a, float b) const { return b > a ? b : a; }
};

}  // namespace evomoe::kernels::cuda
