#include "evomoe/routing/balance.h"

namespace evomoe {

RouterLoss balance_loss(const torch::Tensor& gate_TE, const torch::Tensor& selected_count_E,
                        int64_t num_rows) {
  if (num_rows == 0) return {"balance", gate_TE.sum() * 0};
  const auto gate_share_E = gate_TE.sum(0) / num_rows;
  const auto selected_share_E = selected_count_E.to(gate_TE.scalar_type()) / num_rows;
  const auto num_experts = static_cast<double>(gate_TE.size(1));
  return {"balance", (gate_share_E * selected_share_E).mean() * (num_experts * num_experts)};
}

RouterLoss balance_loss_of_valid(const torch::Tensor& probability_TE, const RouterStats& stats,
                                 const torch::Tensor& valid_T, double k) {
  const auto gate_TE = valid_T.defined() ? probability_TE * valid_T.unsqueeze(1) : probability_TE;
  auto balance = balance_loss(gate_TE, stats.load_E, stats.tokens);
  balance.value = balance.value / k;
  return balance;
}

RouterLoss no_balance_loss(const torch::Tensor& gate_TE) {
  return {"balance", torch::zeros({}, gate_TE.options().requires_grad(false))};
}

}  // namespace evomoe
