#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace evomoe {

/// A loss a router adds to the training loss, as a mean over the rows the router saw; on the graph.
struct RouterLoss {
  std::string name;     ///< "balance", "z"
  torch::Tensor value;  ///< scalar, at coefficient 1
  double weight = 1.0;  ///< coefficient set by the router's options (z); "balance" has the
                        ///< criterion's --moe-gate-loss-wt
};

/// What a router did, off the graph. Counts are over real tokens (padding left out) and before
/// capacity drops, so that they can be added over layers' micro-batches and over ranks.
struct RouterStats {
  torch::Tensor load_E;  ///< int64 [E], assignments per expert before drops
  torch::Tensor
      active_E1;  ///< int64 [E+1], number of tokens that have 0, 1, ... E experts (before drops)
  torch::Tensor entropy_sum;  ///< float scalar, sum over tokens of the entropy (nats) of the gate
                              ///< probabilities
  torch::Tensor dropped;      ///< int64 scalar, assignments dropped by capacity
  torch::Tensor
      non_argmax;  ///< int64 scalar, tokens whose one sampled expert is not the most probable one
  int64_t tokens = 0;       ///< real tokens
  int64_t assignments = 0;  ///< assignments that were computed (after drops, padding rows included)
  /// The reference's metrics of this forward pass (reference/evomoe.md section 1.6), scalars named
  /// as its log names them
  /// ("entropy_gating", "unused_expert1_count", "expert1_balance_top", "gumbel_choosed_experts"
  /// ...).
  std::vector<std::pair<std::string, torch::Tensor>> reference;

  /// Adds the statistics of another micro-batch or rank of the same layer (same E, else Error).
  /// Reference metrics are added by name: divide by the number of forward passes, as the reference
  /// does (section 5.1).
  RouterStats& operator+=(const RouterStats& other);
};

/// A sparse T x E matrix of combine weights in expert-major order (the rows of one expert are
/// contiguous).
struct Routing {
  torch::Tensor token_A;   ///< int64 [A], token of each assignment; ascending within an expert
  torch::Tensor weight_A;  ///< float [A], combine weight; the only path of gradient from the output
                           ///< to the router
  torch::Tensor offset_E1;  ///< int64 [E+1] **on the CPU**, assignments of expert e are [offset[e],
                            ///< offset[e+1])

  /// Who is served first when an expert is full: int64 [A], lower first. Undefined: token order.
  torch::Tensor priority_A;
  /// Divide the weights of each token by their sum after drops (GShard's normalisation "after
  /// dropping").
  bool normalize_after_drop = false;

  std::vector<RouterLoss> losses;
  RouterStats stats;

  int64_t num_experts() const { return offset_E1.size(0) - 1; }
  int64_t num_assignments() const { return token_A.size(0); }

  /// From a selection mask [T,E] (bool, constant) and combine weights [T,E] (on the graph; read
  /// only where selected).
  static Routing from_mask(const torch::Tensor& selected_TE, const torch::Tensor& weight_TE);
  /// From one chosen expert per token. `expert_T` int64 [T], a negative entry means no expert;
  /// `weight_T` on the graph.
  static Routing from_choices(const torch::Tensor& expert_T, const torch::Tensor& weight_T,
                              int64_t num_experts);

  /// Expert of each assignment, int64 [A].
  torch::Tensor expert_A() const;
  /// The dense T x E matrix, for tests and reports.
  torch::Tensor dense(int64_t num_tokens) const;
};

}  // namespace evomoe
