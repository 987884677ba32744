#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>

#include "evomoe/routing/routing.h"

namespace evomoe {

/// The load-balance loss of Switch (arXiv 2101.03961, eq. 4) as the reference has it: E^2 *
/// mean_e(mean_t(gate) * mean_t(selected)) = E * sum_e f_e P_e; 1 for a perfectly balanced top-1
/// gate. `gate_TE` [T,E] on the graph (gradient flows through it only), `selected_count_E` int64
/// [E]: rows that selected each expert before drops, `num_rows`: what both means are taken over.
/// Zero rows give zero.
RouterLoss balance_loss(const torch::Tensor& gate_TE, const torch::Tensor& selected_count_E,
                        int64_t num_rows);
/// The same where the loads are those of more rows than the gate's: `selected_count_E` of
/// `selected_rows`.
RouterLoss balance_loss(const torch::Tensor& gate_TE, int64_t num_rows,
                        const torch::Tensor& selected_count_E, int64_t selected_rows);

/// Loads of the experts, int64 [E], of so many rows.
struct ExpertLoads {
  torch::Tensor count_E;
  int64_t rows = 0;
};

/// Loads of the experts in the micro-batches of an update, as far as they have been routed.
class UpdateLoads {
 public:
  /// Adds those of the micro-batch that begins with this sequence, and returns the sums so far. One
  /// that is routed again (recomputation) counts once.
  ExpertLoads add(uint32_t first_sequence, const ExpertLoads& loads);
  /// To be called when an update begins.
  void clear() { of_micro_batch_.clear(); }

 private:
  std::map<uint32_t, ExpertLoads> of_micro_batch_;  ///< by its first sequence
};

/// A balance loss of zero, for methods that have nothing to balance (the reference logs it all the
/// same).
RouterLoss no_balance_loss(const torch::Tensor& gate_TE);

}  // namespace evomoe
