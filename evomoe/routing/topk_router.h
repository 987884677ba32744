#pragma once

#include "evomoe/routing/router.h"

namespace evomoe {

/// Top-k softmax routing (Mixtral, arXiv 2401.04088; OLMoE, arXiv 2409.02060): the k most probable
/// experts, weighted by their probabilities, divided by their sum when normalize_topk is set. Its
/// losses are means over the real tokens.
class TopkRouter : public Router {
 public:
  explicit TopkRouter(RouterOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// ceil(factor * k * rows / E); evaluation: ceil(fraction * rows) when the fraction is > 0.
  /// Factor <= 0: dropless.
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;
  int64_t most_experts_per_token() const override { return options_.k; }
};

}  // namespace evomoe
