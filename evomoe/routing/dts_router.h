#pragma once

#include "evomoe/routing/switch_router.h"

namespace evomoe {

/// Of the dense-to-sparse gate alone.
struct DtsOptions {
  /// In [0,1): an expert whose Gumbel-softmax value is <= this is not used.
  double threshold = 0.001;
  bool normalize_weights = false;  ///< divide the weights by their sum over the selected experts

  void describe(OptionTable& table);
  /// UsageError: a threshold outside [0,1).
  void validate() const;
};

/// EvoMoE's dense-to-sparse gate (arXiv 2112.14397). In training a token uses the experts whose
/// Gumbel-softmax value exceeds the threshold, and the one with the largest value always: all of
/// them at a high temperature, few at a low one, exactly one in the hard phase. In evaluation it is
/// the noise-free top-1 of the softmax. Padding rows are routed like tokens in training, as in the
/// reference (statistics leave them out).
class DtsRouter : public SwitchRouter {
 public:
  DtsRouter(RouterShape shape, CapacityOptions capacity, GumbelGateOptions gumbel_gates,
            DtsOptions options)
      : SwitchRouter(std::move(shape), std::move(capacity), gumbel_gates), options_(options) {}
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Training: dropless. Evaluation: ceil(fraction * rows) when the fraction is > 0, else dropless.
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;
  int64_t most_experts_per_token() const override { return num_experts(); }
  bool follows_schedule() const override { return true; }
  /// The capacity in training.
  std::vector<std::string> unused_options() const override {
    return {"moe-train-capacity-token-fraction"};
  }

 private:
  /// Without a temperature schedule.
  Routing route_all(const torch::Tensor& logits_TE, const RoutingContext& context) const;
  Routing route_soft(const torch::Tensor& logits_TE, const RoutingContext& context) const;
  Routing route_hard(const torch::Tensor& logits_TE, const RoutingContext& context) const;
  /// The losses and statistics of both phases, from the masked weights [T,E].
  void finish(Routing& routing, const torch::Tensor& logits_TE, const torch::Tensor& probability_TE,
              const torch::Tensor& selected_TE, const torch::Tensor& weight_TE,
              const RoutingContext& context) const;

  DtsOptions options_;
};

}  // namespace evomoe
