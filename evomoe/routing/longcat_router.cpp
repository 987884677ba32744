// LongCat-Flash, arXiv 2509.01322: copies of the token beside the experts.
#include "evomoe/routing/longcat_router.h"

#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void LongcatOptions::describe(OptionTable& table) {
  table.group("moe");
  table.add("longcat-copy-experts", &copy_experts, "longcat: experts that return the token.")
      .at_least(0)
      .shapes_model();
  table
      .add("longcat-target-k", &target_k,
           "longcat: mean experts per token that compute; 0: two thirds of --moe-k.")
      .at_least(0);
  table.add("longcat-bias-rate", &bias_rate, "longcat: step of the bias in an update; 0: none.")
      .at_least(0);
  table.add("longcat-scale", &scale, "longcat: what the combine weights are multiplied by.")
      .above(0)
      .shapes_model();
}

LongcatRouter::LongcatRouter(RouterShape shape, TopkOptions topk, LongcatOptions options)
    : FreeExpertRouter(std::move(shape), options.copy_experts, "--longcat-copy-experts"),
      topk_(topk),
      options_(options) {
  check_experts_per_token(topk_.k, num_experts() + free_experts());
  const auto k = static_cast<double>(topk_.k);
  if (options_.target_k > k)
    fail_usage("--longcat-target-k {}: allowed is at most --moe-k {}", options_.target_k, topk_.k);
  if (options_.target_k == 0) options_.target_k = k * 2 / 3;
  add_buffer(bias_E_, "bias", torch::zeros({num_experts()}));
}

Routing LongcatRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TA = all_logits(x_TD);
  const auto T = logits_TA.size(0), E = num_experts(), all = logits_TA.size(1);
  const auto probability_TA = torch::softmax(logits_TA, /*dim=*/1);
  auto choice_TA = probability_TA.detach().clone();
  choice_TA.slice(1, 0, E).add_(bias_E_.to(choice_TA.scalar_type()));
  auto selected_TA = selection_mask(largest(choice_TA, topk_.k), all);
  selected_TA = only_rows(selected_TA, routed_rows(context, T));
  const auto weight_TA = options_.scale * probability_TA;
  const auto selected_TE = selected_TA.slice(1, 0, E);
  auto routing = Routing::from_mask(selected_TE, weight_TA.slice(1, 0, E));
  routing.identity_T = (weight_TA * selected_TA).slice(1, E).sum(1);
  routing.losses.push_back(no_balance_loss(probability_TA));
  complete(routing, logits_TA, probability_TA.slice(1, 0, E), selected_TE, valid_rows(context, T));
  return routing;
}

void LongcatRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  if (global.tokens == 0 || options_.bias_rate == 0) return;
  const torch::NoGradGuard no_grad;
  const auto k = static_cast<double>(topk_.k);
  const auto wanted = options_.target_k / (k * static_cast<double>(num_experts()));
  const auto share_E =
      global.load_E.to(bias_E_.options()) / (k * static_cast<double>(global.tokens));
  bias_E_.add_(wanted - share_E, options_.bias_rate);
}

}  // namespace evomoe
