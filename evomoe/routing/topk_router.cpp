// Top-k softmax routing, arXiv 2401.04088 (normalised) and 2409.02060 (not).
#include "evomoe/routing/topk_router.h"

#include <cmath>
#include <utility>

#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"
#include "evomoe/routing/selection.h"

namespace evomoe {
void TopkOptions::describe(OptionTable& table) {
  table.group("moe");
  table.add("moe-k", &k, "Experts per token of the routers that choose a fixed number of them.")
      .at_least(1)
      .shapes_model();
  table
      .add("moe-no-normalize-topk", &no_normalize,
           "topk, sigmoid, densemixer: the chosen probabilities are used as they are, instead of "
           "divided by their sum.")
      .shapes_model();
}

TopkRouter::TopkRouter(RouterShape shape, CapacityOptions capacity, TopkOptions options)
    : Router(std::move(shape)), capacity_(std::move(capacity)), options_(options) {
  check_experts_per_token(options_.k, num_experts());
}

Routing TopkRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto valid_T = valid_rows(context, logits_TE.size(0));
  const auto routed_T = routed_rows(context, logits_TE.size(0));
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  const auto expert_TK = largest(probability_TE.detach(), options_.k);
  auto selected_TE = selection_mask(expert_TK, num_experts());
  auto weight_TE = probability_TE;
  if (!options_.no_normalize) {
    weight_TE = probability_TE / probability_TE.gather(1, expert_TK).sum(1, /*keepdim=*/true);
  }
  selected_TE = only_rows(selected_TE, routed_T);
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
  // E/k sum_e f_e P_e over real tokens: 1 when balanced, whatever k.
  auto balance = balance_of_valid(probability_TE, routing.stats, valid_T, options_.k, context);
  routing.losses.insert(routing.losses.begin(), std::move(balance));
  routing.stats.reference.emplace_back("entropy_gating", mean_entropy(probability_TE));
  return routing;
}

std::optional<int64_t> TopkRouter::capacity(int64_t num_rows, bool training) const {
  if (capacity_.train_factor <= 0) return std::nullopt;
  if (!training) {
    if (const auto capacity = capacity_.in_evaluation(num_rows)) return capacity;
  }
  return static_cast<int64_t>(
      std::ceil(capacity_.train_factor * static_cast<double>(options_.k * num_rows) /
                static_cast<double>(num_experts())));
}

}  // namespace evomoe
