#include "evomoe/routing/dense_router.h"

#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"

namespace evomoe {

Routing DenseRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto valid_T = valid_rows(context, logits_TE.size(0));
  const auto routed_T = routed_rows(context, logits_TE.size(0));
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  auto selected_TE = torch::ones_like(logits_TE, torch::kBool);
  if (routed_T.defined()) selected_TE.logical_and_(routed_T.unsqueeze(1));
  auto routing = Routing::from_mask(selected_TE, probability_TE);
  routing.losses.push_back(no_balance_loss(probability_TE));
  complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
  routing.stats.reference.emplace_back("entropy_gating", mean_entropy(probability_TE));
  return routing;
}

}  // namespace evomoe
