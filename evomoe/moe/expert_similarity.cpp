#include "evomoe/moe/expert_similarity.h"

#include <algorithm>

namespace evomoe {
namespace {

constexpr int64_t kMostElements = 1 << 20;  // of a matrix, all experts together

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// Every step-th element of each expert [E,N]; zero where other ranks bring it.
torch::Tensor sampled(const ExpertElements& matrix, int64_t experts) {
  const auto size = matrix.of_expert;
  // An odd step visits all rows and columns of a matrix, whose sizes are mostly even.
  const auto step = std::max<int64_t>(experts * size / kMostElements, 1) | 1;
  auto sample_EN = torch::zeros({experts, (size + step - 1) / step},
                                matrix.own.options().dtype(torch::kFloat32));
  const auto end = matrix.begin + matrix.own.numel();
  for (auto at = matrix.begin; at < end;) {
    const auto expert_begin = at / size * size;
    const auto next = std::min(end, expert_begin + size);
    const auto first = round_up(at - expert_begin, step);
    const auto from = expert_begin + first - matrix.begin, to = next - matrix.begin;
    if (from < to) {
      const auto values = matrix.own.slice(0, from, to, step);
      sample_EN[matrix.first_expert + at / size].narrow(0, first / step, values.size(0)) = values;
    }
    at = next;
  }
  return sample_EN;
}

}  // namespace

std::optional<ExpertSimilarity> similarity_of_experts(int64_t experts,
                                                      const std::vector<ExpertElements>& matrices,
                                                      Communicator& ranks) {
  const torch::NoGradGuard no_grad;
  if (experts < 2) return std::nullopt;
  std::vector<torch::Tensor> parts;
  for (const auto& matrix : matrices) parts.push_back(sampled(matrix, experts));
  auto sample_EN = torch::cat(parts, 1);
  ranks.all_reduce_sum(sample_EN);
  const auto unit_EN = torch::nn::functional::normalize(sample_EN);
  const auto cosine_EE = unit_EN.mm(unit_EN.t());
  const auto pair_EE =
      torch::ones({experts, experts}, cosine_EE.options().dtype(torch::kBool)).triu(1);
  const auto cosine_P = cosine_EE.masked_select(pair_EE).to(torch::kFloat64);
  return ExpertSimilarity{.mean = cosine_P.mean().item<double>(),
                          .least = cosine_P.min().item<double>(),
                          .most = cosine_P.max().item<double>()};
}

}  // namespace evomoe
