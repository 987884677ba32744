#include "evomoe/routing/balance.h"

namespace evomoe {

RouterLoss balance_loss(const torch::Tensor& gate_TE, const torch::Tensor& selected_count_E,
                        int64_t num_rows) {
  return balance_loss(gate_TE, num_rows, selected_count_E, num_rows);
}

RouterLoss balance_loss(const torch::Tensor& gate_TE, int64_t num_rows,
                        const torch::Tensor& selected_count_E, int64_t selected_rows) {
  if (num_rows == 0) return {"balance", gate_TE.sum() * 0};
  const auto gate_share_E = gate_TE.sum(0) / num_rows;
  const auto selected_share_E = selected_count_E.to(gate_TE.scalar_type()) / selected_rows;
  const auto num_experts = static_cast<double>(gate_TE.size(1));
  return {"balance", (gate_share_E * selected_share_E).mean() * (num_experts * num_experts)};
}

ExpertLoads UpdateLoads::add(uint32_t first_sequence, const ExpertLoads& loads) {
  of_micro_batch_[first_sequence] = loads;
  ExpertLoads sum{torch::zeros_like(loads.count_E), 0};
  for (const auto& [sequence, of_one] : of_micro_batch_) {
    sum.count_E += of_one.count_E;
    sum.rows += of_one.rows;
  }
  return sum;
}

RouterLoss no_balance_loss(const torch::Tensor& gate_TE) {
  return {"balance", torch::zeros({}, gate_TE.options().requires_grad(false))};
}

}  // namespace evomoe
