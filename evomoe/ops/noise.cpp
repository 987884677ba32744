#include "evomoe/ops/noise.h"

#include "evomoe/base/error.h"
#include "evomoe/kernels/cpu/noise.h"
#include "evomoe/kernels/cuda/noise.h"
#include "evomoe/ops/cuda_kernels.h"

namespace evomoe {
namespace {

constexpr int64_t kMask32 = 0xFFFFFFFF;

torch::Tensor grid(int64_t rows, int64_t columns, torch::Device device = torch::kCPU) {
  EVOMOE_CHECK(rows >= 0 && columns >= 0,
               "a grid of noise has {} rows and {} columns; neither may be negative", rows,
               columns);
  return torch::empty({rows, columns}, torch::dtype(torch::kFloat32).device(device));
}

using CudaGrid = void (*)(float*, int64_t, int64_t, const NoiseKey&, void*);

/// A grid made by a CUDA kernel.
[[maybe_unused]] torch::Tensor cuda_grid(CudaGrid make, int64_t rows, int64_t columns,
                                         const NoiseKey& key, torch::Device device) {
  auto noise = grid(rows, columns, device);
  make(noise.data_ptr<float>(), rows, columns, key, DeviceStream(noise).get());
  return noise;
}

}  // namespace

torch::Tensor uniform_noise(int64_t rows, int64_t columns, const NoiseKey& key,
                            torch::Device device) {
  if constexpr (kHasCudaKernels) {
    if (device.is_cuda())
      return cuda_grid(kernels::cuda::uniform_noise, rows, columns, key, device);
  }
  auto noise = grid(rows, columns);
  if (device.is_cpu()) {
    kernels::uniform_noise(noise.data_ptr<float>(), rows, columns, key);
    return noise;
  }
  const auto token_T = torch::arange(rows, torch::dtype(torch::kInt64).device(device));
  const auto words = philox_words(token_T, /*first_block=*/0, (columns + 3) / 4, key);
  // unit_open of base/philox.h.
  return ((words.slice(1, 0, columns).bitwise_right_shift(9)).to(torch::kFloat32) + 0.5) * 0x1p-23;
}

// The logarithms of two devices differ in the last bits. Without kernels for a device these grids
// are made on the CPU.
torch::Tensor gumbel_noise(int64_t rows, int64_t columns, const NoiseKey& key,
                           torch::Device device) {
  if constexpr (kHasCudaKernels) {
    if (device.is_cuda()) return cuda_grid(kernels::cuda::gumbel_noise, rows, columns, key, device);
  }
  auto noise = grid(rows, columns);
  kernels::gumbel_noise(noise.data_ptr<float>(), rows, columns, key);
  return noise.to(device);
}

torch::Tensor normal_noise(int64_t rows, int64_t columns, const NoiseKey& key,
                           torch::Device device) {
  if constexpr (kHasCudaKernels) {
    if (device.is_cuda()) return cuda_grid(kernels::cuda::normal_noise, rows, columns, key, device);
  }
  auto noise = grid(rows, columns);
  kernels::normal_noise(noise.data_ptr<float>(), rows, columns, key);
  return noise.to(device);
}

torch::Tensor philox_words(const torch::Tensor& token_N, int64_t first_block, int64_t num_blocks,
                           const NoiseKey& key) {
  const auto token_N1 = token_N.unsqueeze(1);
  const auto length = static_cast<int64_t>(key.sequence_length);
  const auto position = length == 0 ? token_N1 : token_N1.remainder(length);
  const auto sequence = length == 0 ? torch::zeros_like(token_N1) : token_N1.floor_divide(length);
  const auto block = torch::arange(first_block, first_block + num_blocks, token_N.options());
  const auto zero = torch::zeros({token_N.size(0), num_blocks}, token_N.options());
  auto c0 = (zero + block).bitwise_and(kMask32), c1 = (zero + position).bitwise_and(kMask32),
       c2 = (zero + sequence + static_cast<int64_t>(key.first_sequence)).bitwise_and(kMask32),
       c3 = zero + static_cast<int64_t>(key.update);
  const auto words = philox_key(key);
  int64_t k0 = words[0], k1 = words[1];
  for (int round = 0; round < 10; ++round) {
    // 64-bit products wrap, which leaves their bits as they would be without a sign.
    const auto product0 = c0 * int64_t{0xD2511F53}, product1 = c2 * int64_t{0xCD9E8D57};
    const auto high0 = product0.bitwise_right_shift(32).bitwise_and(kMask32);
    const auto high1 = product1.bitwise_right_shift(32).bitwise_and(kMask32);
    c0 = high1.bitwise_xor(c1).bitwise_xor(k0);
    c1 = product1.bitwise_and(kMask32);
    c2 = high0.bitwise_xor(c3).bitwise_xor(k1);
    c3 = product0.bitwise_and(kMask32);
    k0 = (k0 + 0x9E3779B9) & kMask32;
    k1 = (k1 + 0xBB67AE85) & kMask32;
  }
  return torch::stack({c0, c1, c2, c3}, /*dim=*/2).view({token_N.size(0), 4 * num_blocks});
}

}  // namespace evomoe
