// Sinkhorn routing (S-BASE).
#include "evomoe/routing/sinkhorn_router.h"

#include <algorithm>

#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void SinkhornOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("sinkhorn-tolerance", &tolerance,
           "sinkhorn: the iteration ends when the experts' scaling changes by no more than this on "
           "average, or after 100 steps.")
      .above(0);
}

SinkhornRouter::SinkhornRouter(RouterShape shape, TopkOptions topk, SinkhornOptions options)
    : Router(std::move(shape)), topk_(topk), options_(options) {
  check_experts_per_token(topk_.k, num_experts());
}

torch::Tensor SinkhornRouter::plan(const torch::Tensor& logits_TE,
                                   const torch::Tensor& routed_T) const {
  const torch::NoGradGuard no_grad;
  // Scaling a row changes nothing, and keeps the exponential finite.
  auto cost_TE = (logits_TE - std::get<0>(logits_TE.max(1, /*keepdim=*/true))).exp();
  auto T = static_cast<double>(logits_TE.size(0));
  if (routed_T.defined()) {
    cost_TE = cost_TE * routed_T.unsqueeze(1);
    T = routed_T.sum().item<double>();
  }
  if (T == 0) return cost_TE;
  const auto E = static_cast<double>(num_experts());
  constexpr double kSmall = 1e-8;
  constexpr int kMostSteps = 100;
  auto of_expert_E = torch::ones({num_experts()}, cost_TE.options());
  torch::Tensor of_token_T;
  for (int step = 0; step < kMostSteps; ++step) {
    of_token_T = 1 / (T * (cost_TE.mv(of_expert_E) + kSmall));
    const auto next_E = 1 / (E * (cost_TE.t().mv(of_token_T) + kSmall));
    const auto change = (next_E - of_expert_E).abs().mean().item<double>();
    of_expert_E = next_E;
    if (change <= options_.tolerance) break;
  }
  return cost_TE * of_expert_E * of_token_T.unsqueeze(1);
}

Routing SinkhornRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto routed_T = routed_rows(context, T);
  const auto score_TE = context.training && T > 0 ? plan(logits_TE, routed_T) : logits_TE.detach();
  auto selected_TE = selection_mask(largest(score_TE, topk_.k), num_experts());
  selected_TE = only_rows(selected_TE, routed_T);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  auto routing =
      Routing::from_mask(selected_TE, topk_.k == 1 ? torch::sigmoid(logits_TE) : probability_TE);
  routing.losses.push_back(no_balance_loss(logits_TE));
  complete(routing, logits_TE, probability_TE, selected_TE, valid_rows(context, T));
  return routing;
}

}  // namespace evomoe
