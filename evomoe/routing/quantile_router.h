#pragma once

#include "evomoe/routing/router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

class OptionTable;

/// Of the methods that fit numbers of the experts to quantiles of the last update's scores.
struct QuantileOptions {
  double average = 0;   ///< `quantile`: how much of the former bias an update keeps
  int64_t bins = 1000;  ///< of the histogram of an expert; 0: the mean of micro-batches' quantiles

  void describe(OptionTable& table);
};
struct QuantileDynamicOptions {
  double average = 0.9;  ///< how much of the former threshold an update keeps

  void describe(OptionTable& table);
};

/// Quantile balancing (J. Su, 2026; in Kimi K3 and Megatron): sigmoid scores, of which a token's
/// experts are the k with the largest score + bias, weighted by their scores divided by their sum.
/// After an update each bias becomes what would have given its expert the mean load, all others
/// kept: a quantile of (score - what it takes to be chosen). No loss and no step size. Dropless.
class QuantileRouter : public Router {
 public:
  /// UsageError: k is not 1 to E - 1.
  QuantileRouter(RouterShape shape, TopkOptions topk, QuantileOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  void end_update(const RouterStats& global, const LayerStats& layers) override;
  int64_t most_experts_per_token() const override { return topk_.k; }
  std::vector<std::string> unused_options() const override { return {"moe-no-normalize-topk"}; }

 private:
  TopkOptions topk_;
  QuantileOptions options_;
  torch::Tensor bias_E_;
};

/// Quantile thresholds (J. Su, "MoE series" 7): a token uses the experts whose sigmoid score is
/// above their threshold, and the one that is nearest to it where none is; weights are the scores
/// divided by their sum. After an update the thresholds move to what would have given each expert k
/// T / E tokens. Before the first one the k largest scores are used. Dropless.
class QuantileDynamicRouter : public Router {
 public:
  /// UsageError: k is not 1 to E - 1.
  QuantileDynamicRouter(RouterShape shape, TopkOptions topk, QuantileDynamicOptions options,
                        QuantileOptions bins);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  void end_update(const RouterStats& global, const LayerStats& layers) override;
  std::vector<std::string> unused_options() const override {
    return {"moe-no-normalize-topk", "quantile-average"};
  }

 private:
  TopkOptions topk_;
  QuantileDynamicOptions options_;
  int64_t bins_;
  torch::Tensor threshold_E_;  ///< below 0: not fitted yet
};

}  // namespace evomoe
