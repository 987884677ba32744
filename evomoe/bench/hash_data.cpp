#include "evomoe/bench/hash_data.h"

#include <numeric>

#include "evomoe/kernels/parallel_for.h"

namespace evomoe::bench {
namespace {

/// Elements that a thread takes at a time. Sums are made by block, so that a checksum does not
/// depend on the number of threads.
constexpr int64_t kBlock = int64_t{1} << 18;

}  // namespace

uint64_t hash_word(uint64_t tag, uint64_t index) {
  uint64_t z = (index + 1) * 0x9E3779B97F4A7C15ULL + tag * 0xD1B54A32D192ED03ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

double hash_value(uint64_t tag, uint64_t index) {
  return static_cast<double>(hash_word(tag, index) >> 40) * 0x1p-23 - 1.0;
}

double hash_open_unit(uint64_t tag, uint64_t index) {
  return (static_cast<double>(hash_word(tag, index) >> 11) + 0.5) * 0x1p-53;
}

torch::Tensor hash_tensor(uint64_t tag, torch::IntArrayRef shape, double scale) {
  auto tensor = torch::empty(shape, torch::kFloat32);
  auto* const values = tensor.data_ptr<float>();
  kernels::parallel_for(0, tensor.numel(), kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      values[i] = static_cast<float>(hash_value(tag, static_cast<uint64_t>(i)) * scale);
  });
  return tensor;
}

std::vector<int64_t> hash_tokens(uint64_t tag, int64_t count, int64_t vocab) {
  std::vector<int64_t> tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int64_t>(hash_word(tag, i) % static_cast<uint64_t>(vocab));
  return tokens;
}

double projection(const torch::Tensor& tensor, uint64_t tag) {
  const auto flat = tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const auto* const values = flat.data_ptr<float>();
  const auto total = flat.numel();
  std::vector<double> sums(static_cast<size_t>((total + kBlock - 1) / kBlock));
  kernels::parallel_for(0, static_cast<int64_t>(sums.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      double sum = 0;
      for (int64_t i = block * kBlock; i < std::min(total, (block + 1) * kBlock); ++i)
        sum += static_cast<double>(values[i]) * hash_value(tag, static_cast<uint64_t>(i));
      sums[static_cast<size_t>(block)] = sum;
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace evomoe::bench
