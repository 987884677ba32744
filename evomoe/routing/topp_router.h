#pragma once

#include <vector>

#include "evomoe/routing/router.h"

namespace evomoe {

class OptionTable;

struct ToppOptions {
  double threshold = 0.4;        ///< probability that the chosen experts of a token exceed together
  double entropy_weight = 1e-4;  ///< of the mean entropy of the probabilities
  /// Experts per token that a controller moves the threshold to; 0: it stays as it is.
  double target_k = 0;

  void describe(OptionTable& table);
};

/// Dynamic MoE (arXiv 2403.07652): a token uses its most probable experts, as many as it takes for
/// their probabilities to exceed a threshold together, weighted by these. The entropy loss keeps
/// the gate from buying more experts by being unsure. With a target, a proportional-integral
/// controller moves one threshold of all layers after each update (after DTop-p, arXiv 2512.13996,
/// of which the abstract alone was read). Dropless.
class ToppRouter : public Router {
 public:
  /// UsageError: a target that is not 1 to E.
  ToppRouter(RouterShape shape, ToppOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  void end_update(const RouterStats& global, const LayerStats& layers) override;

 private:
  ToppOptions options_;
  torch::Tensor threshold_, error_;  ///< scalars of the controller
};

}  // namespace evomoe
