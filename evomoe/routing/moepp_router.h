#pragma once

#include <algorithm>

#include "evomoe/routing/free_experts.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

class OptionTable;

struct MoeppOptions {
  int64_t constant_experts = 2, copy_experts = 1, null_experts = 1;
  double free_balance = 0.75;  ///< weight of the free experts in the balance loss

  void describe(OptionTable& table);
};

/// MoE++ (arXiv 2410.07348): beside the E experts the gate has constant ones, which give
/// α1 x + α2 v with [α1, α2] = softmax(W x) and a learned v, copies, which give the token itself,
/// and null ones, which give nothing. A token has the k most probable of all; the weights of those
/// that are not null are divided by their sum. The balance loss is Σ_e η_e f_e P_e with η 1 for
/// experts. The paper's residual of the previous layer's logits and its capacities are left out:
/// dropless. A token's number of experts in the statistics counts those that compute.
class MoeppRouter : public FreeExpertRouter {
 public:
  /// UsageError: k is not 1 to all experts; no free expert.
  MoeppRouter(RouterShape shape, TopkOptions topk, MoeppOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  void initialise(uint64_t seed, int64_t layer) override;
  int64_t most_experts_per_token() const override { return std::min(topk_.k, num_experts()); }
  std::vector<std::string> unused_options() const override { return {"moe-no-normalize-topk"}; }

 private:
  TopkOptions topk_;
  MoeppOptions options_;
  torch::Tensor constant_gate_N2D_, constant_ND_;  ///< of the N constant experts
};

}  // namespace evomoe
