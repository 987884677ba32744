#pragma once

#include "evomoe/routing/router.h"

namespace evomoe {

/// Switch Transformer (arXiv 2101.03961): each token goes to its most probable expert, with that
/// probability as weight. With gumbel_gates and a temperature > 0 the probabilities are
/// Gumbel-softmax values, as in the authors' top-1 gate.
class SwitchRouter : public Router {
 public:
  explicit SwitchRouter(RouterOptions options, RouterFeatures features = {.gumbel_gates = true})
      : Router(std::move(options), features) {}
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Evaluation: ceil(fraction * rows) when the fraction is > 0; else int(factor * ceil(rows / E)).
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;

 protected:
  /// The top-1 routing of given logits; the dense-to-sparse router evaluates with it.
  Routing route_top1(const torch::Tensor& logits_TE, const RoutingContext& context) const;
};

}  // namespace evomoe
