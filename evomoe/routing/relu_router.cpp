// ReMoE, arXiv 2412.14711: ReLU routing.
#include "evomoe/routing/relu_router.h"

#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void ReluOptions::describe(OptionTable& table) {
  table.group("moe");
  table.add("relu-loss-wt", &first_weight, "relu: first weight of the L1 loss.").above(0);
  table
      .add("relu-loss-factor", &factor,
           "relu: what the weight of the L1 loss is multiplied by after an update with more than "
           "--moe-k experts per token, and else divided by.")
      .above(1);
}

ReluRouter::ReluRouter(RouterShape shape, TopkOptions topk, ReluOptions options)
    : Router(std::move(shape)), topk_(topk), options_(options) {
  check_experts_per_token(topk_.k, num_experts());
  add_buffer(loss_weight_, "loss_weight", torch::full({}, options_.first_weight));
}

Routing ReluRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto valid_T = valid_rows(context, T);
  const auto weight_TE = torch::relu(logits_TE);
  auto selected_TE = weight_TE.detach() > 0;
  selected_TE = only_rows(selected_TE, routed_rows(context, T));
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  complete(routing, logits_TE, torch::softmax(logits_TE, /*dim=*/1), selected_TE, valid_T);
  routing.losses.insert(routing.losses.begin(), no_balance_loss(weight_TE));
  if (context.training) {
    // Its eq. 8: the balance loss with the weights in the place of probabilities.
    const auto loss =
        balance_of_valid(weight_TE, routing.stats, valid_T, static_cast<double>(topk_.k), context);
    routing.losses.push_back({"l1", loss_weight_.clone() * loss.value});
  }
  return routing;
}

void ReluRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  const auto k = mean_experts_per_token(layers);
  if (!k) return;
  const torch::NoGradGuard no_grad;
  loss_weight_.mul_(*k > static_cast<double>(topk_.k) ? options_.factor : 1 / options_.factor);
}

}  // namespace evomoe
