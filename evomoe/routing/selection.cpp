#include "evomoe/routing/selection.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "evomoe/base/error.h"

namespace evomoe {

torch::Tensor largest(const torch::Tensor& score_TE, int64_t k) {
  // Not by topk, whose order of equal values is not defined. A few times the largest costs less
  // than a sort.
  constexpr int64_t kFew = 8;
  if (k > kFew) {
    const auto order_TE =
        std::get<1>(score_TE.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true));
    return order_TE.slice(/*dim=*/1, 0, k);
  }
  auto left_TE = k > 1 ? score_TE.clone() : score_TE;
  std::vector<torch::Tensor> chosen;
  for (int64_t i = 0; i < k; ++i) {
    chosen.push_back(left_TE.argmax(/*dim=*/1, /*keepdim=*/true));  // the first of equal ones
    if (i + 1 < k) left_TE.scatter_(1, chosen.back(), -std::numeric_limits<double>::infinity());
  }
  return torch::cat(chosen, /*dim=*/1);
}

torch::Tensor selection_mask(const torch::Tensor& expert_TK, int64_t num_experts) {
  return torch::zeros({expert_TK.size(0), num_experts},
                      torch::dtype(torch::kBool).device(expert_TK.device()))
      .scatter_(1, expert_TK, /*value=*/true);
}

torch::Tensor only_rows(const torch::Tensor& selected_TE, const torch::Tensor& rows_T) {
  return rows_T.defined() ? selected_TE.logical_and(rows_T.unsqueeze(1)) : selected_TE;
}

torch::Tensor mean_of_valid(const torch::Tensor& value_T, const torch::Tensor& valid_T) {
  if (!valid_T.defined()) return value_T.sum() / std::max<int64_t>(value_T.size(0), 1);
  return value_T.masked_fill(valid_T.logical_not(), 0).sum() / valid_T.sum().clamp_min(1);
}

void check_experts_per_token(int64_t k, int64_t most) {
  if (k < 1 || k > most) {
    fail_usage("--moe-k {}: allowed are 1 to {} experts per token (--moe-expert-count)", k, most);
  }
}

}  // namespace evomoe
