// Switch Transformer, arXiv 2101.03961: each token goes to its most probable expert.
#include "evomoe/routing/switch_router.h"

#include "evomoe/config/option_table.h"
#include "evomoe/ops/noise.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/reference_metrics.h"
#include "evomoe/routing/router_stats.h"

namespace evomoe {

void GumbelGateOptions::describe(OptionTable& table) {
  table.group("evolution");
  table
      .add("use-gumbel-gates", &use_gumbel_gates,
           "The combine weights are the noisy Gumbel-softmax values.")
      .of_reference();
}

void SwitchOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("switch-jitter", &jitter,
           "switch: in training the gate's input is multiplied by uniform noise of 1 plus or minus "
           "this (the paper: 0.01).")
      .at_least(0)
      .below(1);
}

Routing SwitchRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const double jitter = switch_options_.jitter;
  if (jitter == 0 || !context.training) return route_top1(logits(x_TD), context);
  auto key = context.noise;
  key.site = NoiseSite::kSecondExpertUniform;  // the only uniform numbers of this router
  const auto factor_TD =
      1 - jitter + 2 * jitter * uniform_noise(x_TD.size(0), x_TD.size(1), key, x_TD.device());
  return route_top1(logits(x_TD * factor_TD), context);
}

torch::Tensor SwitchRouter::gumbel_softmax(const torch::Tensor& logits_TE,
                                           const RoutingContext& context) const {
  auto noisy_TE = logits_TE;
  const auto& schedule = context.schedule;
  if (schedule.noise_scale != 0) {
    noisy_TE =
        logits_TE + schedule.noise_scale *
                        gate_noise(context.gumbel_TE, NoiseSite::kGateGumbel, logits_TE, context);
  }
  return torch::softmax(noisy_TE / schedule.temperature, /*dim=*/1);
}

Routing SwitchRouter::route_top1(const torch::Tensor& logits_TE,
                                 const RoutingContext& context) const {
  const int64_t num_tokens = logits_TE.size(0);
  const auto routed_T = routed_rows(context, num_tokens);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  auto gate_TE = probability_TE;
  const bool noisy = context.training || context.gumbel_TE.defined();
  if (gumbel_gates_.use_gumbel_gates && context.schedule.temperature > 0 && noisy) {
    gate_TE = gumbel_softmax(logits_TE, context);
  }
  const auto [weight_T, expert_T] = gate_TE.max(/*dim=*/1);
  auto selected_TE =
      torch::zeros_like(logits_TE, torch::kBool).scatter_(1, expert_T.unsqueeze(1), /*value=*/true);
  auto choice_T = expert_T;
  if (routed_T.defined()) {
    selected_TE.logical_and_(routed_T.unsqueeze(1));
    choice_T = expert_T.masked_fill(routed_T.logical_not(), -1);
  }
  auto routing = Routing::from_choices(choice_T, weight_T, num_experts());
  // Its eq. 4, over all rows and before drops, as in the reference.
  routing.losses.push_back(balance(gate_TE, selected_TE.sum(0), num_tokens, context));
  complete(routing, logits_TE, probability_TE, selected_TE, valid_rows(context, num_tokens));
  auto& metrics = routing.stats.reference;
  metrics.emplace_back("entropy_gating", mean_entropy(gate_TE));
  append_histogram_metrics(metrics, "expert1", expert_T, num_experts());
  return routing;
}

std::optional<int64_t> SwitchRouter::capacity(int64_t num_rows, bool training) const {
  if (capacity_.train_factor <= 0) return std::nullopt;
  if (!training) {
    if (const auto capacity = capacity_.in_evaluation(num_rows)) return capacity;
  }
  const int64_t share = (num_rows + num_experts() - 1) / num_experts();
  return static_cast<int64_t>(capacity_.train_factor * static_cast<double>(share));
}

}  // namespace evomoe
