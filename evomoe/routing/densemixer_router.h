#pragma once

#include "evomoe/routing/router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

/// DenseMixer (https://github.com/yaof20/DenseMixer): the output is that of top-k softmax routing,
/// and the gate's gradient that of a mixture of all experts. In training all experts compute every
/// token for it, where a token does not use them with a weight of 0: so tokens and experts have the
/// gradients of top-k routing. Divided by the sum of the k chosen ones (unless no_normalize is
/// set), the probability of an expert that is not chosen has no gradient through that sum. In
/// evaluation it is `topk`. Dropless.
class DenseMixerRouter : public Router {
 public:
  /// UsageError: k is not 1 to E.
  DenseMixerRouter(RouterShape shape, TopkOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;

 private:
  TopkOptions options_;
};

}  // namespace evomoe
