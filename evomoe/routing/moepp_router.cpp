// MoE++, arXiv 2410.07348: experts that compute nothing.
#include "evomoe/routing/moepp_router.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "evomoe/config/option_table.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void MoeppOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("moepp-constant-experts", &constant_experts,
           "moepp: experts that mix the token with a learned vector.")
      .at_least(0)
      .shapes_model();
  table.add("moepp-copy-experts", &copy_experts, "moepp: experts that return the token.")
      .at_least(0)
      .shapes_model();
  table.add("moepp-null-experts", &null_experts, "moepp: experts that return zero.")
      .at_least(0)
      .shapes_model();
  table
      .add("moepp-free-balance", &free_balance,
           "moepp: weight in the balance loss of the experts that compute nothing; lower: they are "
           "used more.")
      .at_least(0);
}

MoeppRouter::MoeppRouter(RouterShape shape, TopkOptions topk, MoeppOptions options)
    : FreeExpertRouter(std::move(shape),
                       options.constant_experts + options.copy_experts + options.null_experts,
                       "--moepp-null-experts"),
      topk_(topk),
      options_(options) {
  check_experts_per_token(topk_.k, num_experts() + free_experts());
  const auto N = options_.constant_experts, D = shape_.model_dim;
  add_parameter(constant_gate_N2D_, "constant_gate", torch::zeros({N, 2, D}));
  add_parameter(constant_ND_, "constant", torch::zeros({N, D}));
}

void MoeppRouter::initialise(uint64_t seed, int64_t layer) {
  FreeExpertRouter::initialise(seed, layer);
  const double bound = 1.0 / std::sqrt(static_cast<double>(shape_.model_dim));
  fill_uniform(constant_gate_N2D_, bound, seed, layer, /*part=*/2);
  fill_uniform(constant_ND_, bound, seed, layer, /*part=*/3);
}

Routing MoeppRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TA = all_logits(x_TD);
  const auto T = logits_TA.size(0), E = num_experts(), all = logits_TA.size(1);
  const auto N = options_.constant_experts, first_copy = E + N;
  const auto first_null = first_copy + options_.copy_experts;
  const auto valid_T = valid_rows(context, T);
  const auto probability_TA = torch::softmax(logits_TA, /*dim=*/1);
  auto selected_TA = selection_mask(largest(probability_TA.detach(), topk_.k), all);
  selected_TA = only_rows(selected_TA, routed_rows(context, T));

  auto used_TA = selected_TA.clone();
  used_TA.slice(1, first_null).fill_(false);
  const auto kept_TA = probability_TA * used_TA;
  const auto sum_T1 = kept_TA.sum(1, /*keepdim=*/true);
  const auto weight_TA = kept_TA / sum_T1.masked_fill(sum_T1 == 0, 1);  // null experts alone

  const auto selected_TE = selected_TA.slice(1, 0, E);
  auto routing = Routing::from_mask(selected_TE, weight_TA.slice(1, 0, E));
  routing.identity_T = weight_TA.slice(1, first_copy, first_null).sum(1);
  if (N > 0) {
    const auto x = x_TD.to(weight_TA.scalar_type());
    const auto mix_TN2 = torch::softmax(
        torch::linear(x, constant_gate_N2D_.view({2 * N, -1}).to(x.scalar_type())).view({T, N, 2}),
        /*dim=*/2);
    const auto weight_TN = weight_TA.slice(1, E, first_copy);
    routing.identity_T = routing.identity_T + (weight_TN * mix_TN2.select(2, 0)).sum(1);
    routing.vector_weight_TN = weight_TN * mix_TN2.select(2, 1);
    routing.vector_ND = constant_ND_;
  }

  complete(routing, logits_TA, probability_TA.slice(1, 0, E), selected_TE, valid_T);
  auto gate_TA = probability_TA;
  auto counted_TA = selected_TA;
  if (valid_T.defined()) {
    gate_TA = gate_TA * valid_T.unsqueeze(1);
    counted_TA = counted_TA.logical_and(valid_T.unsqueeze(1));
  }
  auto balance_weight_A = torch::ones({all}, probability_TA.options().requires_grad(false));
  balance_weight_A.slice(0, E).fill_(options_.free_balance);
  const auto tokens = static_cast<double>(std::max<int64_t>(routing.stats.tokens, 1));
  const auto balance =
      (balance_weight_A * (counted_TA.sum(0) / tokens) * (gate_TA.sum(0) / tokens)).sum();
  routing.losses.insert(routing.losses.begin(), {"balance", balance});
  return routing;
}

}  // namespace evomoe
