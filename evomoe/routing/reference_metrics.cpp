#include "evomoe/routing/reference_metrics.h"

#include <algorithm>
#include <limits>

namespace evomoe {

void append_histogram_metrics(ReferenceMetrics& metrics, const std::string& name,
                              const torch::Tensor& expert_T, int64_t num_experts) {
  const torch::NoGradGuard no_grad;
  const auto count_E = torch::bincount(expert_T, /*weights=*/{}, num_experts);
  const auto percent_E =
      100.0 * count_E.to(torch::kFloat32) / std::max<int64_t>(expert_T.size(0), 1);
  const auto sorted_E = std::get<0>(percent_E.sort(/*dim=*/0, /*descending=*/true)) +
                        std::numeric_limits<float>::min();
  // max(ceil(0.2 E), 1) in exact arithmetic.
  const int64_t fifth = std::max<int64_t>((num_experts + 4) / 5, 1);
  metrics.emplace_back("unused_" + name + "_count", (count_E == 0).sum().to(torch::kFloat32));
  metrics.emplace_back(name + "_balance_top", sorted_E.slice(0, 0, fifth).sum());
  metrics.emplace_back(name + "_balance_bottom",
                       sorted_E.slice(0, num_experts - fifth, num_experts).sum());
}

}  // namespace evomoe
