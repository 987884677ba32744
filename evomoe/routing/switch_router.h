#pragma once

#include "evomoe/routing/router.h"

namespace evomoe {

/// Switch Transformer (arXiv 2101.03961): each token goes to its most probable expert, with that
/// probability as weight. With gumbel_gates and a temperature > 0 the probabilities are
/// Gumbel-softmax values, as in the authors' top-1 gate.
class SwitchRouter : public Router {
 public:
  explicit SwitchRouter(RouterOptions options)
      : SwitchRouter(options, {.train_capacity = true,
                               .eval_capacity = true,
                               // The schedule enters through the noisy gates only.
                               .gumbel_softmax = options.gumbel_gates,
                               .gumbel_gates = true}) {}
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Evaluation: ceil(fraction * rows) when the fraction is > 0; else int(factor * ceil(rows / E)).
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;
  int64_t most_experts_per_token() const override { return 1; }

 protected:
  SwitchRouter(RouterOptions options, const RouterFeatures& features)
      : Router(std::move(options), features) {}
  /// softmax((logits + noise scale * Gumbel noise) / temperature); no noise is drawn at scale 0.
  torch::Tensor gumbel_softmax(const torch::Tensor& logits_TE, const RoutingContext& context) const;
  /// The top-1 routing of given logits; the dense-to-sparse router evaluates with it.
  Routing route_top1(const torch::Tensor& logits_TE, const RoutingContext& context) const;
};

}  // namespace evomoe
