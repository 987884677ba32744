#include "evomoe/optim/gradient_norm.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "evomoe/kernels/parallel_for.h"

namespace evomoe {
namespace {

/// Elements summed by one thread at a time. Fixed, so that the order of additions does not depend
/// on the threads.
constexpr int64_t kChunk = 1 << 15;

struct Chunk {
  const float* data;
  int64_t size;
};

/// Sum of squares in double, in eight lanes that the compiler turns into vectors.
double sum_of_squares(Chunk chunk) {
  constexpr int64_t kLanes = 8;
  std::array<double, kLanes> lane{};
  int64_t i = 0;
  for (; i + kLanes <= chunk.size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const auto value = static_cast<double>(chunk.data[i + j]);
      lane[static_cast<size_t>(j)] += value * value;
    }
  }
  double sum = 0;
  for (; i < chunk.size; ++i) {
    sum += static_cast<double>(chunk.data[i]) * static_cast<double>(chunk.data[i]);
  }
  for (const double value : lane) sum += value;
  return sum;
}

bool sums_in_place(const torch::Tensor& gradient) {
  return gradient.device().is_cpu() && gradient.scalar_type() == torch::kFloat32 &&
         gradient.is_contiguous();
}

}  // namespace

double gradient_norm(const std::vector<NamedParameter>& parameters) {
  torch::NoGradGuard no_grad;
  std::vector<Chunk> chunks;
  std::vector<torch::Tensor> squares;  // of gradients that are elsewhere or of another type
  for (const auto& parameter : parameters) {
    const auto& gradient = parameter.tensor.grad();
    if (!gradient.defined() || gradient.numel() == 0) continue;
    if (sums_in_place(gradient)) {
      const auto* data = gradient.const_data_ptr<float>();
      for (int64_t begin = 0; begin < gradient.numel(); begin += kChunk) {
        chunks.push_back({data + begin, std::min(kChunk, gradient.numel() - begin)});
      }
    } else {
      squares.push_back(gradient.to(torch::kFloat64).square().sum());
    }
  }

  std::vector<double> partial(chunks.size());
  kernels::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      partial[static_cast<size_t>(i)] = sum_of_squares(chunks[static_cast<size_t>(i)]);
    }
  });
  double sum = 0;
  for (const double value : partial) sum += value;
  // One stack, so that a GPU is waited for once and not once per parameter.
  if (!squares.empty()) sum += torch::stack(squares).sum().item<double>();
  return std::sqrt(sum);
}

double clip_coefficient(double norm, double clip_norm) {
  if (clip_norm <= 0) return 1.0;
  return std::min(1.0, clip_norm / (norm + 1e-6));
}

std::optional<std::string> find_non_finite(const std::vector<NamedParameter>& parameters) {
  torch::NoGradGuard no_grad;
  for (const auto& parameter : parameters) {
    const auto& gradient = parameter.tensor.grad();
    if (gradient.defined() && !gradient.isfinite().all().item<bool>()) return parameter.name;
  }
  return std::nullopt;
}

}  // namespace evomoe
