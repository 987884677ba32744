#include "evomoe/optim/gradient_norm.h"

#include <algorithm>
#include <cmath>

#include "evomoe/kernels/cpu/sum_of_squares.h"
#include "evomoe/kernels/parallel_for.h"
#include "evomoe/optim/update_rule.h"

namespace evomoe {
namespace {

struct Chunk {
  const float* data;
  int64_t size;
};

}  // namespace

double gradient_squares(const std::vector<NamedParameter>& parameters) {
  torch::NoGradGuard no_grad;
  std::vector<Chunk> chunks;
  std::vector<torch::Tensor> squares;  // of gradients that are elsewhere or of another type
  for (const auto& parameter : parameters) {
    const auto& gradient = parameter.tensor.grad();
    if (!gradient.defined() || gradient.numel() == 0) continue;
    if (has_raw_floats(gradient)) {
      const auto* data = gradient.const_data_ptr<float>();
      for (int64_t begin = 0; begin < gradient.numel(); begin += kernels::kSquaresChunk) {
        chunks.push_back(
            {data + begin, std::min(kernels::kSquaresChunk, gradient.numel() - begin)});
      }
    } else {
      squares.push_back(gradient.to(torch::kFloat64).square().sum());
    }
  }

  std::vector<double> partial(chunks.size());
  kernels::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto& chunk = chunks[static_cast<size_t>(i)];
      partial[static_cast<size_t>(i)] = kernels::chunk_sum_of_squares(chunk.data, chunk.size);
    }
  });
  double sum = 0;
  for (const double value : partial) sum += value;
  // One stack, so that a GPU is waited for once and not once per parameter.
  if (!squares.empty()) sum += torch::stack(squares).sum().item<double>();
  return sum;
}

double gradient_norm(const std::vector<NamedParameter>& parameters) {
  return std::sqrt(gradient_squares(parameters));
}

double clip_coefficient(double norm, double clip_norm) {
  if (clip_norm <= 0) return 1.0;
  return std::min(1.0, clip_norm / (norm + 1e-6));
}

}  // namespace evomoe
