#pragma once

#include <torch/torch.h>

#include "evomoe/routing/routing.h"

namespace evomoe {

/// The load-balance loss of Switch (arXiv 2101.03961, eq. 4) as the reference has it: E^2 *
/// mean_e(mean_t(gate) * mean_t(selected)) = E * sum_e f_e P_e; 1 for a perfectly balanced top-1
/// gate. `gate_TE` [T,E] on the graph (gradient flows through it only), `selected_count_E` int64
/// [E]: rows that selected each expert before drops, `num_rows`: what both means are taken over.
/// Zero rows give zero.
RouterLoss balance_loss(const torch::Tensor& gate_TE, const torch::Tensor& selected_count_E,
                        int64_t num_rows);

/// E/k sum_e f_e P_e over the real tokens, 1 when they are balanced, whatever k: f_e is the load of
/// `stats` before drops, P_e the mean of probability_TE. `valid_T` bool [T] or undefined (all).
RouterLoss balance_loss_of_valid(const torch::Tensor& probability_TE, const RouterStats& stats,
                                 const torch::Tensor& valid_T, double k);

/// A balance loss of zero, for methods that have nothing to balance (the reference logs it all the
/// same).
RouterLoss no_balance_loss(const torch::Tensor& gate_TE);

}  // namespace evomoe
