// Top-p routing, arXiv 2403.07652.
#include "evomoe/routing/topp_router.h"

#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/router_stats.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void ToppOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("topp-threshold", &threshold,
           "topp: a token uses its most probable experts until their probabilities exceed this "
           "together; with --topp-target-k the first value.")
      .at_least(0)
      .below(1);
  table
      .add("topp-entropy-wt", &entropy_weight,
           "topp: weight of the loss on the entropy of the probabilities.")
      .at_least(0);
  table
      .add(
          "topp-target-k", &target_k,
          "topp: the mean number of experts per token that the threshold is moved to; 0: it stays.")
      .at_least(0);
}

ToppRouter::ToppRouter(RouterShape shape, ToppOptions options)
    : Router(std::move(shape)), options_(options) {
  const auto target = options_.target_k;
  if (target != 0 && !(target >= 1 && target <= static_cast<double>(num_experts()))) {
    fail_usage("--topp-target-k {}: allowed are 1 to {} (--moe-expert-count), or 0 for none",
               target, num_experts());
  }
  add_buffer(threshold_, "threshold", torch::full({}, options_.threshold));
  add_buffer(error_, "threshold_error", torch::zeros({}));
}

Routing ToppRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto valid_T = valid_rows(context, T);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  const auto [sorted_TE, expert_TE] =
      probability_TE.detach().sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  // The mass before an expert: 0 for the first one, which is always chosen.
  const auto before_TE = sorted_TE.cumsum(1) - sorted_TE;
  const auto threshold = options_.target_k > 0
                             ? threshold_.to(before_TE.scalar_type())
                             : torch::full({}, options_.threshold, before_TE.options());
  auto selected_TE =
      torch::zeros_like(logits_TE, torch::kBool).scatter_(1, expert_TE, before_TE <= threshold);
  selected_TE = only_rows(selected_TE, routed_rows(context, T));
  auto routing = Routing::from_mask(selected_TE, probability_TE);
  complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
  // Without 1/k, which differs from token to token: it is k when balanced.
  auto balance = balance_of_valid(probability_TE, routing.stats, valid_T, /*k=*/1, context);
  routing.losses.insert(routing.losses.begin(), std::move(balance));
  if (context.training && options_.entropy_weight > 0) {
    const auto entropy_T = -(probability_TE * torch::log_softmax(logits_TE, 1)).sum(1);
    routing.losses.push_back(
        {"entropy", options_.entropy_weight * mean_of_valid(entropy_T, valid_T)});
  }
  routing.stats.reference.emplace_back("entropy_gating", mean_entropy(probability_TE));
  return routing;
}

void ToppRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  if (options_.target_k == 0) return;
  const auto k = mean_experts_per_token(layers);
  if (!k) return;
  constexpr double kProportional = 0.5, kIntegral = 0.1;
  const double error = (options_.target_k - *k) / static_cast<double>(num_experts());
  const torch::NoGradGuard no_grad;
  threshold_.add_(kProportional * (error - error_) + kIntegral * error).clamp_(0.05, 0.999);
  error_.fill_(error);
}

}  // namespace evomoe
