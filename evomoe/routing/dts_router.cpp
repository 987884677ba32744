// EvoMoE, arXiv 2112.14397: the dense-to-sparse gate.
#include "evomoe/routing/dts_router.h"

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"

namespace evomoe {

void DtsOptions::describe(OptionTable& table) {
  table.group("evolution");
  table
      .add("dts-threshold", &threshold,
           "An expert with a Gumbel-softmax value up to this is not used, unless it is the token's "
           "best.")
      .range(0, 1);
  table.add("dts-normalize-weights", &normalize_weights,
            "Divides the combine weights by their sum over the experts used, which keeps the "
            "output's size at the spawn.");
}

void DtsOptions::validate() const {
  if (!(threshold >= 0 && threshold < 1)) {
    fail_usage("--dts-threshold {}: allowed is 0 <= threshold < 1 (reference: 0.001)", threshold);
  }
}

Routing DtsRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  if (!context.training) {
    auto routing = route_top1(logits_TE, context);
    // One expert's weight divided by itself.
    if (options_.normalize_weights) routing.weight_A = torch::ones_like(routing.weight_A);
    return routing;
  }
  if (context.schedule.temperature <= 0) return route_all(logits_TE, context);
  return context.schedule.hard ? route_hard(logits_TE, context) : route_soft(logits_TE, context);
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
  const auto selected_TE = (value_TE > options_.threshold)
                               .scatter_(1, value_TE.argmax(1, /*keepdim=*/true), /*value=*/true);
  auto weight_TE = (gumbel_gates_.use_gumbel_gates ? noisy_TE : probability_TE) * selected_TE;
  if (options_.normalize_weights) {
    // The weight of an expert that is all but impossible may underflow to 0.
    const auto sum_T1 = weight_TE.sum(1, /*keepdim=*/true);
    weight_TE = weight_TE / sum_T1.masked_fill(sum_T1 == 0, 1);
  }
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  finish(routing, logits_TE, probability_TE, selected_TE, weight_TE, context);
  return routing;
}

Routing DtsRouter::route_hard(const torch::Tensor& logits_TE, const RoutingContext& context) const {
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  const auto noisy_TE = gumbel_softmax(logits_TE, context);
  const auto expert_T1 = noisy_TE.detach().argmax(1, /*keepdim=*/true);
  const auto& gate_TE = gumbel_gates_.use_gumbel_gates ? noisy_TE : probability_TE;
  auto weight_T1 = gate_TE.gather(1, expert_T1);
  if (options_.normalize_weights) weight_T1 = torch::ones_like(weight_T1);
  auto routing = Routing::from_choices(expert_T1.squeeze(1), weight_T1.squeeze(1), num_experts());
  const auto selected_TE =
      torch::zeros_like(logits_TE, torch::kBool).scatter_(1, expert_T1, /*value=*/true);
  const auto weight_TE = torch::zeros_like(logits_TE).detach().scatter(1, expert_T1, weight_T1);
  finish(routing, logits_TE, probability_TE, selected_TE, weight_TE, context);
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
