// Default MoE, arXiv 2504.12463: a default vector for each expert that a token does not use.
#include "evomoe/routing/default_moe_router.h"

#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void DefaultMoeOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("default-moe-average", &average,
           "default-moe: share of an expert's default vector that an update keeps; the rest is the "
           "mean of what the expert gave in it.")
      .at_least(0)
      .below(1);
  table
      .add("default-moe-mode", &mode,
           "default-moe: whether the default vectors are added to the output (and make the gate's "
           "gradient), or make the gradient alone.")
      .choices({"forward", "backward"});
}

DefaultMoeRouter::DefaultMoeRouter(RouterShape shape, TopkOptions topk, DefaultMoeOptions options)
    : Router(std::move(shape)), topk_(topk), options_(std::move(options)) {
  check_experts_per_token(topk_.k, num_experts());
  add_buffer(default_ED_, "default", torch::zeros({num_experts(), shape_.model_dim}));
}

Routing DefaultMoeRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto valid_T = valid_rows(context, T), routed_T = routed_rows(context, T);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  const auto chosen_TE = selection_mask(largest(probability_TE.detach(), topk_.k), num_experts());
  const auto selected_TE = only_rows(chosen_TE, routed_T);
  auto routing = Routing::from_mask(selected_TE, probability_TE);
  const bool in_output = options_.mode == "forward";
  if (in_output || context.training) {
    const auto filled_TE = only_rows(chosen_TE.logical_not(), routed_T);
    auto fill_TE = probability_TE * filled_TE;
    if (!in_output) fill_TE = fill_TE - fill_TE.detach();
    routing.vector_weight_TN = fill_TE;
    routing.vector_ND = default_ED_;
  }
  complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
  routing.losses.insert(routing.losses.begin(),
                        balance_of_valid(probability_TE, routing.stats, valid_T,
                                         static_cast<double>(topk_.k), context));
  return routing;
}

void DefaultMoeRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  const torch::NoGradGuard no_grad;
  const auto D = shape_.model_dim;
  EVOMOE_CHECK(global.output_sum_ED1.defined(),
               "router `default-moe` needs the sums of what the experts gave in the update");
  const auto count_E1 = global.output_sum_ED1.slice(1, D, D + 1);
  const auto mean_ED = global.output_sum_ED1.slice(1, 0, D) / count_E1.clamp_min(1);
  const auto moved_ED = options_.average * default_ED_ + (1 - options_.average) * mean_ED;
  default_ED_.copy_(torch::where(count_E1 > 0, moved_ED, default_ED_.to(moved_ED.scalar_type())));
}

}  // namespace evomoe
