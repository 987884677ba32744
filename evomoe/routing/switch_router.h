#pragma once

#include "evomoe/routing/capacity.h"
#include "evomoe/routing/router.h"

namespace evomoe {

/// Of the methods that can weight experts with Gumbel-softmax values.
struct GumbelGateOptions {
  /// The combine weights are those values, while there is a temperature.
  bool use_gumbel_gates = false;

  void describe(OptionTable& table);
};

/// Of Switch alone.
struct SwitchOptions {
  /// In training the gate's input is multiplied by U(1 - jitter, 1 + jitter), element by element;
  /// the experts' is not.
  double jitter = 0;

  void describe(OptionTable& table);
};

/// Switch Transformer (arXiv 2101.03961): each token goes to its most probable expert, with that
/// probability as weight. With use_gumbel_gates and a temperature > 0 the probabilities are
/// Gumbel-softmax values, as in the authors' top-1 gate.
class SwitchRouter : public Router {
 public:
  SwitchRouter(RouterShape shape, CapacityOptions capacity, GumbelGateOptions gumbel_gates,
               SwitchOptions options = {})
      : Router(std::move(shape)),
        capacity_(std::move(capacity)),
        gumbel_gates_(gumbel_gates),
        switch_options_(options) {}
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Evaluation: ceil(fraction * rows) when the fraction is > 0; else int(factor * ceil(rows / E)).
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;
  int64_t most_experts_per_token() const override { return 1; }
  /// Through the noisy gates only.
  bool follows_schedule() const override { return gumbel_gates_.use_gumbel_gates; }

 protected:
  /// softmax((logits + noise scale * Gumbel noise) / temperature); no noise is drawn at scale 0.
  torch::Tensor gumbel_softmax(const torch::Tensor& logits_TE, const RoutingContext& context) const;
  /// The top-1 routing of given logits; the dense-to-sparse router evaluates with it.
  Routing route_top1(const torch::Tensor& logits_TE, const RoutingContext& context) const;

  CapacityOptions capacity_;
  GumbelGateOptions gumbel_gates_;

 private:
  SwitchOptions switch_options_;
};

}  // namespace evomoe
