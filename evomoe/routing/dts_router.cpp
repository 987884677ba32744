// EvoMoE, arXiv 2112.14397: the dense-to-sparse gate.
#include "evomoe/routing/dts_router.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"
#include "evomoe/routing/selection.h"

namespace evomoe {
namespace {

/// A threshold of 0 could not be multiplied.
constexpr double kLeastControlled = 1e-6;

}  // namespace

void DtsOptions::describe(OptionTable& table) {
  table.group("evolution");
  table
      .add("dts-threshold", &threshold,
           "An expert with a Gumbel-softmax value up to this is not used, unless it is the token's "
           "best.")
      .range(0, 1);
  table
      .add("dts-threshold-share", &threshold_share,
           "The threshold as a share of 1/E instead (1: what every expert has when they are all "
           "equal); 0: not used.")
      .at_least(0);
  table
      .add("dts-target-k", &target_k,
           "Mean experts per token that the threshold is moved to before the hard phase; 0: it "
           "stays.")
      .at_least(0);
  table
      .add("dts-final-k", &final_k,
           "Experts per token in the hard phase and in evaluation; before that as many at least.")
      .at_least(1);
  table.add("dts-normalize-weights", &normalize_weights,
            "Divides the combine weights by their sum over the experts used, which keeps the "
            "output's size at the spawn.");
  table.add("dts-scale-weights", &scale_weights,
            "As dts-normalize-weights, but the sum has no gradient: a single expert's weight is 1, "
            "and still teaches the gate.");
}

void DtsOptions::validate() const {
  if (!(threshold >= 0 && threshold < 1)) {
    fail_usage("--dts-threshold {}: allowed is 0 <= threshold < 1 (reference: 0.001)", threshold);
  }
  if (threshold_share > 0 && threshold != DtsOptions().threshold) {
    fail_usage("--dts-threshold {} and --dts-threshold-share {} both give the threshold; use one",
               threshold, threshold_share);
  }
  if (normalize_weights && scale_weights) {
    fail_usage("--dts-normalize-weights and --dts-scale-weights both divide the weights; use one");
  }
}

DtsRouter::DtsRouter(RouterShape shape, CapacityOptions capacity, GumbelGateOptions gumbel_gates,
                     DtsOptions options)
    : SwitchRouter(std::move(shape), std::move(capacity), gumbel_gates), options_(options) {
  const auto E = static_cast<double>(num_experts());
  if (options_.final_k > num_experts()) {
    fail_usage("--dts-final-k {}: allowed are 1 to {} experts per token (--moe-expert-count)",
               options_.final_k, num_experts());
  }
  if (options_.threshold_share > 0) {
    if (num_experts() > 1 && options_.threshold_share >= E) {
      fail_usage("--dts-threshold-share {}: allowed is less than {} (--moe-expert-count)",
                 options_.threshold_share, num_experts());
    }
    options_.threshold = options_.threshold_share / E;
  }
  const auto target = options_.target_k;
  if (target == 0) return;
  if (!(target >= static_cast<double>(options_.final_k) && target <= E)) {
    fail_usage(
        "--dts-target-k {}: allowed are {} (--dts-final-k) to {} (--moe-expert-count), or 0 "
        "for none",
        target, options_.final_k, num_experts());
  }
  add_buffer(threshold_, "threshold",
             torch::full({}, std::max(options_.threshold, kLeastControlled)));
}

void DtsRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  if (!threshold_.defined()) return;
  const auto k = mean_experts_per_token(layers);
  if (!k || *k == 0) return;
  constexpr double kGain = 0.1;  // of a logarithm's difference
  const torch::NoGradGuard no_grad;
  threshold_.mul_(std::pow(*k / options_.target_k, kGain)).clamp_(kLeastControlled, 0.999);
}

torch::Tensor DtsRouter::divided(const torch::Tensor& weight_TE) const {
  if (!options_.normalize_weights && !options_.scale_weights) return weight_TE;
  // The weight of an expert that is all but impossible may underflow to 0.
  auto sum_T1 = weight_TE.sum(1, /*keepdim=*/true);
  sum_T1 = sum_T1.masked_fill(sum_T1 == 0, 1);
  return weight_TE / (options_.scale_weights ? sum_T1.detach() : sum_T1);
}

Routing DtsRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  if (!context.training) {
    if (options_.final_k > 1) {
      const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
      return route_final(logits_TE, probability_TE, probability_TE, context);
    }
    auto routing = route_top1(logits_TE, context);
    // One expert's weight divided by itself.
    if (options_.normalize_weights || options_.scale_weights)
      routing.weight_A = torch::ones_like(routing.weight_A);
    return routing;
  }
  if (context.schedule.temperature <= 0) return route_all(logits_TE, context);
  if (!context.schedule.hard) return route_soft(logits_TE, context);
  const auto noisy_TE = gumbel_softmax(logits_TE, context);
  const auto gate_TE =
      gumbel_gates_.use_gumbel_gates ? noisy_TE : torch::softmax(logits_TE, /*dim=*/1);
  return route_final(logits_TE, noisy_TE, gate_TE, context);
}

Routing DtsRouter::route_all(const torch::Tensor& logits_TE, const RoutingContext& context) const {
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  const auto selected_TE = torch::ones_like(logits_TE, torch::kBool);
  auto routing = Routing::from_mask(selected_TE, probability_TE);
  routing.losses.push_back(no_balance_loss(probability_TE));
  complete(routing, logits_TE, probability_TE, selected_TE, valid_rows(context, logits_TE.size(0)));
  routing.stats.reference.emplace_back("entropy_gating", mean_entropy(probability_TE));
  return routing;
}

Routing DtsRouter::route_soft(const torch::Tensor& logits_TE, const RoutingContext& context) const {
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  const auto noisy_TE = gumbel_softmax(logits_TE, context);
  // The selection is a constant: no straight-through gradient. Strictly greater, so a threshold of
  // 0 leaves out experts whose value underflows. The largest value passes any threshold below 1/E;
  // its expert is kept at a higher one as well, so that no token goes without.
  const auto value_TE = noisy_TE.detach();
  const auto above_TE = threshold_.defined() ? value_TE > threshold_.to(value_TE.scalar_type())
                                             : value_TE > options_.threshold;
  const auto selected_TE = above_TE.scatter(1, largest(value_TE, options_.final_k), /*value=*/true);
  const auto weight_TE =
      divided((gumbel_gates_.use_gumbel_gates ? noisy_TE : probability_TE) * selected_TE);
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  finish(routing, logits_TE, probability_TE, selected_TE, weight_TE, context);
  return routing;
}

Routing DtsRouter::route_final(const torch::Tensor& logits_TE, const torch::Tensor& value_TE,
                               const torch::Tensor& gate_TE, const RoutingContext& context) const {
  auto selected_TE = selection_mask(largest(value_TE.detach(), options_.final_k), num_experts());
  if (!context.training)
    selected_TE = only_rows(selected_TE, routed_rows(context, logits_TE.size(0)));
  // One expert's weight divided by itself has no gradient.
  const auto weight_TE = options_.normalize_weights && options_.final_k == 1
                             ? selected_TE.to(gate_TE.scalar_type())
                             : divided(gate_TE * selected_TE);
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  finish(routing, logits_TE, torch::softmax(logits_TE, /*dim=*/1), selected_TE, weight_TE, context);
  return routing;
}

void DtsRouter::finish(Routing& routing, const torch::Tensor& logits_TE,
                       const torch::Tensor& probability_TE, const torch::Tensor& selected_TE,
                       const torch::Tensor& weight_TE, const RoutingContext& context) const {
  const auto rows = logits_TE.size(0);
  // The reference balances the masked weights here, not the full softmax.
  routing.losses.push_back(balance(weight_TE, selected_TE.sum(0), rows, context));
  complete(routing, logits_TE, probability_TE, selected_TE, valid_rows(context, rows));
  routing.stats.reference.emplace_back("gumbel_choosed_experts",
                                       selected_TE.sum().to(torch::kFloat32));
  routing.stats.reference.emplace_back("entropy_gating", mean_entropy(weight_TE));
}

std::optional<int64_t> DtsRouter::capacity(int64_t num_rows, bool training) const {
  // Evaluation is the reference's top-1 gate with a factor of E: without a fraction it holds every
  // token.
  return training ? std::nullopt : capacity_.in_evaluation(num_rows);
}

}  // namespace evomoe
