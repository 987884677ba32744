#pragma once

#include "evomoe/routing/capacity.h"
#include "evomoe/routing/router.h"

namespace evomoe {

/// Of the methods that choose a fixed number of experts for a token.
struct TopkOptions {
  int64_t k = 2;              ///< experts per token, 1 to E
  bool no_normalize = false;  ///< the chosen probabilities are not divided by their sum

  void describe(OptionTable& table);
};

/// Top-k softmax routing (Mixtral, arXiv 2401.04088; OLMoE, arXiv 2409.02060): the k most probable
/// experts, weighted by their probabilities, divided by their sum unless no_normalize is set. Its
/// losses are means over the real tokens.
class TopkRouter : public Router {
 public:
  /// UsageError: k is not 1 to E.
  TopkRouter(RouterShape shape, CapacityOptions capacity, TopkOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// ceil(factor * k * rows / E); evaluation: ceil(fraction * rows) when the fraction is > 0.
  /// Factor <= 0: dropless.
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;
  int64_t most_experts_per_token() const override { return options_.k; }

 private:
  CapacityOptions capacity_;
  TopkOptions options_;
};

}  // namespace evomoe
