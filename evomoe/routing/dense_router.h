#pragma once

#include "evomoe/routing/router.h"

namespace evomoe {

/// Every real token uses all experts, weighted by the softmax of the logits. Dropless; no balance
/// loss.
class DenseRouter : public Router {
 public:
  using Router::Router;
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
};

}  // namespace evomoe
