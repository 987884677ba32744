#pragma once

#include "evomoe/routing/router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

class OptionTable;

struct DefaultMoeOptions {
  double average = 0.9;          ///< share of an expert's default vector that an update keeps
  std::string mode = "forward";  ///< forward | backward

  void describe(OptionTable& table);
};

/// Default MoE (arXiv 2504.12463): a token has its k most probable experts, weighted by their
/// probabilities, and of each other expert its default vector, weighted in the same way: a moving
/// average of what that expert gave. So the gate's gradient is that of all experts, at the cost of
/// one product with an [E,D] matrix. Mode `backward`: the vectors make the gradient alone, and the
/// output is that of `topk`. The vectors are zero at first, and move after an update by the mean
/// output of all tokens that the expert computed in it. Dropless.
class DefaultMoeRouter : public Router {
 public:
  /// UsageError: k is not 1 to E.
  DefaultMoeRouter(RouterShape shape, TopkOptions topk, DefaultMoeOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  void end_update(const RouterStats& global, const LayerStats& layers) override;
  bool watches_outputs() const override { return true; }
  int64_t most_experts_per_token() const override { return topk_.k; }
  std::vector<std::string> unused_options() const override { return {"moe-no-normalize-topk"}; }

 private:
  TopkOptions topk_;
  DefaultMoeOptions options_;
  torch::Tensor default_ED_;
};

}  // namespace evomoe
