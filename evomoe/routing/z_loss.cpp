#include "evomoe/routing/z_loss.h"

namespace evomoe {

RouterLoss z_loss(const torch::Tensor& logits_TE, const torch::Tensor& valid_T) {
  auto square_T = torch::logsumexp(logits_TE, /*dim=*/1).square();
  if (!valid_T.defined()) {
    const auto rows = std::max<int64_t>(square_T.size(0), 1);
    return {"z", square_T.sum() / rows};
  }
  square_T = square_T.masked_fill(valid_T.logical_not(), 0);
  return {"z", square_T.sum() / valid_T.sum().clamp_min(1)};
}

}  // namespace evomoe
