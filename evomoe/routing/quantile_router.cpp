// Quantile balancing: a bias or a threshold of each expert is fitted to the last update's scores.
#include "evomoe/routing/quantile_router.h"

#include <algorithm>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/quantiles.h"
#include "evomoe/routing/selection.h"

namespace evomoe {
namespace {

void check_leaves_one_out(int64_t k, int64_t num_experts, const char* method) {
  check_experts_per_token(k, num_experts);
  if (k == num_experts) {
    fail_usage("--moe-k {} with --moe-router {}: it must be below --moe-expert-count {}", k, method,
               num_experts);
  }
}

double load_share(int64_t k, int64_t num_experts) {
  return static_cast<double>(k) / static_cast<double>(num_experts);
}

/// Of score - what it takes to be chosen, at most 1 apart from the biases' differences.
ColumnQuantiles margin_quantiles(int64_t k, int64_t num_experts, int64_t bins) {
  return {.bins = bins,
          .least = -1.5,
          .most = 1.5,
          .share = load_share(k, num_experts),
          .midpoint = false};
}

ColumnQuantiles score_quantiles(int64_t k, int64_t num_experts, int64_t bins) {
  return {.bins = bins, .least = 0, .most = 1, .share = load_share(k, num_experts)};
}

/// Of the selected experts, divided by their sum.
torch::Tensor shares(const torch::Tensor& score_TE, const torch::Tensor& selected_TE) {
  return score_TE / ((score_TE * selected_TE).sum(1, /*keepdim=*/true) + 1e-20);
}

}  // namespace

void QuantileOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("quantile-average", &average,
           "quantile: how much of the former bias an update keeps; 0: it is replaced.")
      .at_least(0)
      .below(1);
  table
      .add("quantile-bins", &bins,
           "quantile, quantile-dynamic: bins of the histogram that finds the quantile of a whole "
           "update, however it is split among ranks and micro-batches; 0: the mean of the exact "
           "quantiles of the micro-batches.")
      .at_least(0);
}

void QuantileDynamicOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("quantile-dynamic-average", &average,
           "quantile-dynamic: how much of the former threshold an update keeps.")
      .at_least(0)
      .below(1);
}

QuantileRouter::QuantileRouter(RouterShape shape, TopkOptions topk, QuantileOptions options)
    : Router(std::move(shape)), topk_(topk), options_(options) {
  check_leaves_one_out(topk_.k, num_experts(), "quantile");
  add_buffer(bias_E_, "bias", torch::zeros({num_experts()}));
}

Routing QuantileRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0), k = topk_.k;
  const auto valid_T = valid_rows(context, T);
  const auto score_TE = torch::sigmoid(logits_TE);
  const auto choice_TE = score_TE.detach() + bias_E_.to(score_TE.scalar_type());
  const auto expert_TK = largest(choice_TE, k + 1);
  auto selected_TE = selection_mask(expert_TK.slice(1, 0, k), num_experts());
  selected_TE = only_rows(selected_TE, routed_rows(context, T));
  const auto weight_TE =
      score_TE / (score_TE.gather(1, expert_TK.slice(1, 0, k)).sum(1, /*keepdim=*/true) + 1e-20);
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  routing.losses.push_back(no_balance_loss(score_TE));
  complete(routing, logits_TE, torch::softmax(logits_TE, /*dim=*/1), selected_TE, valid_T);
  if (context.training) {
    const auto needed_T1 = choice_TE.gather(1, expert_TK.slice(1, k, k + 1));
    routing.stats.of_method = margin_quantiles(k, num_experts(), options_.bins)
                                  .sums(score_TE.detach() - needed_T1, valid_T);
  }
  return routing;
}

void QuantileRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  if (global.tokens == 0 || !global.of_method.defined()) return;
  const torch::NoGradGuard no_grad;
  const auto E = num_experts();
  const auto fitted_E =
      -margin_quantiles(topk_.k, E, options_.bins).quantiles(global.of_method, global.tokens, E);
  const auto moved_E = options_.average * bias_E_ + (1 - options_.average) * fitted_E;
  bias_E_.copy_(moved_E - moved_E.mean());
}

QuantileDynamicRouter::QuantileDynamicRouter(RouterShape shape, TopkOptions topk,
                                             QuantileDynamicOptions options, QuantileOptions bins)
    : Router(std::move(shape)), topk_(topk), options_(options), bins_(bins.bins) {
  check_leaves_one_out(topk_.k, num_experts(), "quantile-dynamic");
  add_buffer(threshold_E_, "threshold", torch::full({num_experts()}, -1.0));
}

Routing QuantileDynamicRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0), E = num_experts();
  const auto valid_T = valid_rows(context, T);
  const auto score_TE = torch::sigmoid(logits_TE);
  const auto threshold_E = threshold_E_.to(score_TE.scalar_type());
  const auto margin_TE = score_TE.detach() - threshold_E;
  auto selected_TE =
      (margin_TE > 0).scatter_(1, margin_TE.argmax(1, /*keepdim=*/true), /*value=*/true);
  selected_TE = torch::where((threshold_E < 0).any(),
                             selection_mask(largest(score_TE.detach(), topk_.k), E), selected_TE);
  const auto weight_TE = shares(score_TE, selected_TE);
  selected_TE = only_rows(selected_TE, routed_rows(context, T));
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  routing.losses.push_back(no_balance_loss(score_TE));
  complete(routing, logits_TE, torch::softmax(logits_TE, /*dim=*/1), selected_TE, valid_T);
  if (context.training)
    routing.stats.of_method = score_quantiles(topk_.k, E, bins_).sums(score_TE, valid_T);
  return routing;
}

void QuantileDynamicRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  if (global.tokens == 0 || !global.of_method.defined()) return;
  const torch::NoGradGuard no_grad;
  const auto E = num_experts();
  const auto fitted_E =
      score_quantiles(topk_.k, E, bins_).quantiles(global.of_method, global.tokens, E);
  const auto moved_E = options_.average * threshold_E_ + (1 - options_.average) * fitted_E;
  threshold_E_.copy_(torch::where((threshold_E_ < 0).any(), fitted_E, moved_E));
}

}  // namespace evomoe
