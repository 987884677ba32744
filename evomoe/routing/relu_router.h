#pragma once

#include "evomoe/routing/router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

class OptionTable;

struct ReluOptions {
  double first_weight = 1e-8;  ///< of the L1 loss
  double factor = 1.2;         ///< by which an update changes it

  void describe(OptionTable& table);
};

/// ReMoE (arXiv 2412.14711): the weight of an expert is the ReLU of its logit, and a token uses the
/// experts whose weight is not 0: from none to all of them. An L1 loss that weights each expert by
/// its load makes them few. Its weight is one number for all layers: it rises after an update with
/// more than k experts per token, and else falls. Dropless; the first updates use most experts.
class ReluRouter : public Router {
 public:
  /// UsageError: k is not 1 to E.
  ReluRouter(RouterShape shape, TopkOptions topk, ReluOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  void end_update(const RouterStats& global, const LayerStats& layers) override;
  std::vector<std::string> unused_options() const override { return {"moe-no-normalize-topk"}; }

 private:
  TopkOptions topk_;
  ReluOptions options_;
  torch::Tensor loss_weight_;
};

}  // namespace evomoe
