#pragma once

#include <algorithm>

#include "evomoe/routing/free_experts.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

class OptionTable;

struct LongcatOptions {
  int64_t copy_experts = 4;
  double target_k = 0;      ///< mean experts per token that compute; 0: two thirds of k
  double bias_rate = 1e-3;  ///< 0: the bias stays as it is
  double scale = 6.0;       ///< of the combine weights

  void describe(OptionTable& table);
};

/// LongCat-Flash (arXiv 2509.01322): the gate has copies of the token beside the E experts, and a
/// token has the k of all with the largest probability + bias, weighted by scale * probability. The
/// bias of each expert that computes moves after an update towards an equal share of the target;
/// copies have none. Its balance loss over devices is left out. Dropless.
class LongcatRouter : public FreeExpertRouter {
 public:
  /// UsageError: k is not 1 to all experts; a target above k; no copy.
  LongcatRouter(RouterShape shape, TopkOptions topk, LongcatOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  void end_update(const RouterStats& global, const LayerStats& layers) override;
  int64_t most_experts_per_token() const override { return std::min(topk_.k, num_experts()); }
  std::vector<std::string> unused_options() const override { return {"moe-no-normalize-topk"}; }

 private:
  TopkOptions topk_;
  LongcatOptions options_;
  torch::Tensor bias_E_;
};

}  // namespace evomoe
