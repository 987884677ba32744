#include "evomoe/moe/expert_similarity.h"

#include <algorithm>
#include <vector>

namespace evomoe {
namespace {

constexpr int64_t kMostElements = 1 << 20;  // of a matrix, all experts together

}  // namespace

std::optional<ExpertSimilarity> similarity_of_experts(const ExpertWeights& weights) {
  const torch::NoGradGuard no_grad;
  const auto E = weights.w1_EHD.size(0);
  if (E < 2) return std::nullopt;
  std::vector<torch::Tensor> parts;
  for (const auto& matrix : {weights.w1_EHD, weights.w2_EDH, weights.w3_EHD}) {
    if (!matrix.defined()) continue;
    const auto of_expert = matrix.reshape({E, -1});
    // An odd step visits all rows and columns of a matrix, whose sizes are mostly even.
    const auto step = std::max<int64_t>(matrix.numel() / kMostElements, 1) | 1;
    parts.push_back(of_expert.slice(1, 0, of_expert.size(1), step).to(torch::kFloat32));
  }
  const auto unit_EN = torch::nn::functional::normalize(torch::cat(parts, 1));
  const auto cosine_EE = unit_EN.mm(unit_EN.t());
  const auto pair_EE = torch::ones({E, E}, cosine_EE.options().dtype(torch::kBool)).triu(1);
  const auto cosine_P = cosine_EE.masked_select(pair_EE).to(torch::kFloat64);
  return ExpertSimilarity{.mean = cosine_P.mean().item<double>(),
                          .least = cosine_P.min().item<double>(),
                          .most = cosine_P.max().item<double>()};
}

}  // namespace evomoe
