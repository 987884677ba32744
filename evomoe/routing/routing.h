#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace evomoe {

/// A loss a router adds to the training loss, as a mean over the rows the router saw; on the graph.
/// The criterion multiplies "balance" and "z" by the weights of its options. Any other name is of
/// the method's own, which has multiplied it already.
struct RouterLoss {
  std::string name;
  torch::Tensor value;  ///< scalar
};

/// What a router did, off the graph. Counts are over real tokens (padding left out) and before
/// capacity drops, so that they can be added over layers' micro-batches and over ranks.
struct RouterStats {
  torch::Tensor load_E;  ///< int64 [E], assignments per expert before drops
  /// int64 [E+1], number of tokens that have 0, 1, ... E experts, before drops
  torch::Tensor active_E1;
  /// float64 scalar, sum over tokens of the entropy (nats) of the softmax of the logits
  torch::Tensor entropy_sum;
  torch::Tensor dropped;  ///< int64 scalar, assignments of real tokens dropped by capacity
  /// int64 scalar, tokens whose one expert is not the most probable one
  torch::Tensor non_argmax;
  /// float64 [N], sums of the method's own, for its end_update(); undefined: it needs none.
  torch::Tensor of_method;
  /// float64 [E,D+1], for routers that watch what experts give: the sum of each expert's outputs
  /// over the tokens of all ranks that it has computed here, and their number. Filled by the layer;
  /// rows that stand in are left out. Undefined: the router does not watch.
  torch::Tensor output_sum_ED1;
  int64_t tokens = 0;       ///< real tokens
  int64_t assignments = 0;  ///< assignments that were computed (after drops, padding rows included)
  /// The reference's metrics of this forward pass, float scalars named as its log names them:
  /// "entropy_gating", "unused_expert1_count", "expert1_balance_top", "gumbel_choosed_experts" ...
  std::vector<std::pair<std::string, torch::Tensor>> reference;

  /// Adds the statistics of another micro-batch or rank of the same layer (same E, else Error).
  /// Reference metrics are added by name: divide by the number of forward passes.
  RouterStats& operator+=(const RouterStats& other);
};

/// Statistics of the MoE layers of a model, each with its number.
using LayerStats = std::vector<std::pair<int64_t, RouterStats>>;

/// A sparse T x E matrix of combine weights in expert-major order (the rows of one expert are
/// contiguous).
struct Routing {
  torch::Tensor token_A;  ///< int64 [A], token of each assignment; ascending within an expert
  /// float [A], combine weight; the only path of gradient from the output to the router
  torch::Tensor weight_A;
  /// int64 [E+1] **on the CPU**: assignments of expert e are [offset[e], offset[e+1])
  torch::Tensor offset_E1;

  /// Who is served first when an expert is full: int64 [A], lower first. Undefined: token order.
  torch::Tensor priority_A;
  /// Divide the weights of each token by their sum after drops (GShard's normalisation "after
  /// dropping").
  bool normalize_after_drop = false;

  /// What is added to the experts' output without computing an expert: `identity_T` [T] times the
  /// token itself (copy experts), and `vector_weight_TN` [T,N] times `vector_ND` [N,D] (constant
  /// experts). On the graph; undefined: nothing.
  torch::Tensor identity_T;
  torch::Tensor vector_weight_TN, vector_ND;

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

  /// The assignments of tokens [begin, end), whose numbers count from `begin`; without losses and
  /// statistics, and what is added without an expert. Capacity must have been applied.
  Routing of_tokens(int64_t begin, int64_t end) const;

  /// Expert of each assignment, int64 [A].
  torch::Tensor expert_A() const;
  /// The dense T x E matrix, for tests and reports.
  torch::Tensor dense(int64_t num_tokens) const;
};

}  // namespace evomoe
