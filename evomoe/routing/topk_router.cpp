// Top-k softmax routing, arXiv 2401.04088 (normalised) and 2409.02060 (not).
#include "evomoe/routing/topk_router.h"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"

namespace evomoe {
namespace {

/// The k most probable experts of each token, int64 [T,K]. Not by topk: among equal probabilities
/// the lowest expert wins, on every device. A few times the largest costs less than a sort.
torch::Tensor most_probable(const torch::Tensor& probability_TE, int64_t k) {
  constexpr int64_t kFew = 8;
  if (k > kFew) {
    const auto order_TE =
        std::get<1>(probability_TE.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true));
    return order_TE.slice(/*dim=*/1, 0, k);
  }
  auto left_TE = k > 1 ? probability_TE.clone() : probability_TE;
  std::vector<torch::Tensor> chosen;
  for (int64_t i = 0; i < k; ++i) {
    chosen.push_back(left_TE.argmax(/*dim=*/1, /*keepdim=*/true));  // the first of equal ones
    if (i + 1 < k) left_TE.scatter_(1, chosen.back(), -std::numeric_limits<double>::infinity());
  }
  return torch::cat(chosen, /*dim=*/1);
}

}  // namespace

void TopkOptions::describe(OptionTable& table) {
  table.group("moe");
  table.add("moe-k", &k, "Experts per token of the router topk.").at_least(1).shapes_model();
  table
      .add("moe-no-normalize-topk", &no_normalize,
           "The router topk uses the chosen probabilities as they are, instead of dividing them by "
           "their sum.")
      .shapes_model();
}

TopkRouter::TopkRouter(RouterShape shape, CapacityOptions capacity, TopkOptions options)
    : Router(std::move(shape)), capacity_(std::move(capacity)), options_(options) {
  if (options_.k < 1 || options_.k > num_experts()) {
    fail_usage("--moe-k {}: allowed are 1 to {} experts per token (--moe-expert-count)", options_.k,
               num_experts());
  }
}

Routing TopkRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto valid_T = valid_rows(context, logits_TE.size(0));
  const auto routed_T = routed_rows(context, logits_TE.size(0));
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  const auto expert_TK = most_probable(probability_TE.detach(), options_.k);
  auto selected_TE = torch::zeros_like(logits_TE, torch::kBool).scatter_(1, expert_TK, true);
  auto weight_TE = probability_TE;
  if (!options_.no_normalize) {
    weight_TE = probability_TE / probability_TE.gather(1, expert_TK).sum(1, /*keepdim=*/true);
  }
  auto loss_gate_TE = probability_TE;
  if (routed_T.defined()) selected_TE.logical_and_(routed_T.unsqueeze(1));
  if (valid_T.defined()) loss_gate_TE = probability_TE * valid_T.unsqueeze(1);
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
  // E/k sum_e f_e P_e over real tokens: 1 when balanced, whatever k.
  auto balance = Router::balance(loss_gate_TE, routing.stats.load_E, routing.stats.tokens, context);
  balance.value = balance.value / options_.k;
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
