// DenseMixer: top-k routing whose gate learns from all experts.
#include "evomoe/routing/densemixer_router.h"

#include <utility>

#include "evomoe/routing/selection.h"

namespace evomoe {

DenseMixerRouter::DenseMixerRouter(RouterShape shape, TopkOptions options)
    : Router(std::move(shape)), options_(options) {
  check_experts_per_token(options_.k, num_experts());
}

Routing DenseMixerRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto valid_T = valid_rows(context, T), routed_T = routed_rows(context, T);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  const auto expert_TK = largest(probability_TE.detach(), options_.k);
  const auto chosen_TE = selection_mask(expert_TK, num_experts());
  const auto selected_TE = only_rows(chosen_TE, routed_T);
  auto weight_TE = probability_TE;
  if (!options_.no_normalize) {
    const auto sum_T1 = probability_TE.gather(1, expert_TK).sum(1, /*keepdim=*/true);
    weight_TE = probability_TE / torch::where(chosen_TE, sum_T1, sum_T1.detach());
  }
  auto computed_TE = selected_TE;
  if (context.training) {
    // A weight of 0 with the gradient of the probability.
    weight_TE = torch::where(chosen_TE, weight_TE, weight_TE - weight_TE.detach());
    computed_TE = only_rows(torch::ones_like(chosen_TE), routed_T);
  }
  auto routing = Routing::from_mask(computed_TE, weight_TE);
  complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
  routing.losses.insert(routing.losses.begin(),
                        balance_of_valid(probability_TE, routing.stats, valid_T,
                                         static_cast<double>(options_.k), context));
  return routing;
}

}  // namespace evomoe
