#pragma once

#include "evomoe/routing/switch_router.h"

namespace evomoe {

/// Of the dense-to-sparse gate alone.
struct DtsOptions {
  /// In [0,1): an expert whose Gumbel-softmax value is <= this is not used.
  double threshold = 0.001;
  /// The threshold as a share of 1/E, instead; 0: not given.
  double threshold_share = 0;
  /// Experts per token that a controller moves the threshold to while the gate is soft; 0: it
  /// stays.
  double target_k = 0;
  int64_t final_k =
      1;  ///< experts per token in the hard phase and evaluation, at least in the soft one
  bool normalize_weights = false;  ///< divide the weights by their sum over the selected experts
  /// Divide them by that sum as a constant: the output keeps its size, and the gate its gradient.
  bool scale_weights = false;

  void describe(OptionTable& table);
  /// UsageError: a threshold outside [0,1), both ways to give it, both ways to divide weights.
  void validate() const;
};

/// EvoMoE's dense-to-sparse gate (arXiv 2112.14397). In training a token uses the experts whose
/// Gumbel-softmax value exceeds the threshold, and the one with the largest value always: all of
/// them at a high temperature, few at a low one, exactly one (or final_k) in the hard phase. In
/// evaluation it is the noise-free top-1 of the softmax, or top-final_k. Padding rows are routed
/// like tokens in training, as in the reference (statistics leave them out).
class DtsRouter : public SwitchRouter {
 public:
  DtsRouter(RouterShape shape, CapacityOptions capacity, GumbelGateOptions gumbel_gates,
            DtsOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Training: dropless. Evaluation: ceil(fraction * rows) when the fraction is > 0, else dropless.
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;
  int64_t most_experts_per_token() const override { return num_experts(); }
  bool follows_schedule() const override { return true; }
  void end_update(const RouterStats& global, const LayerStats& layers) override;
  /// The capacity in training.
  std::vector<std::string> unused_options() const override {
    return {"moe-train-capacity-token-fraction"};
  }

 private:
  /// Without a temperature schedule.
  Routing route_all(const torch::Tensor& logits_TE, const RoutingContext& context) const;
  Routing route_soft(const torch::Tensor& logits_TE, const RoutingContext& context) const;
  /// The final_k experts with the largest of `value_TE`, weighted by `gate_TE`.
  Routing route_final(const torch::Tensor& logits_TE, const torch::Tensor& value_TE,
                      const torch::Tensor& gate_TE, const RoutingContext& context) const;
  /// Divided by their sum in each row, where the options ask for it.
  torch::Tensor divided(const torch::Tensor& weight_TE) const;
  /// The losses and statistics of both phases, from the masked weights [T,E].
  void finish(Routing& routing, const torch::Tensor& logits_TE, const torch::Tensor& probability_TE,
              const torch::Tensor& selected_TE, const torch::Tensor& weight_TE,
              const RoutingContext& context) const;

  DtsOptions options_;
  torch::Tensor threshold_;  ///< scalar of the controller; undefined: there is none
};

}  // namespace evomoe
