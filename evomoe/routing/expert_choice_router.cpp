// Expert choice, arXiv 2202.09368: experts choose tokens.
#include "evomoe/routing/expert_choice_router.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"

namespace evomoe {

void ExpertChoiceOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("expert-choice-factor", &factor,
           "expert-choice: how many experts a token has on average: each expert takes this times "
           "tokens / experts.")
      .above(0)
      .shapes_model();
}

ExpertChoiceRouter::ExpertChoiceRouter(RouterShape shape, ExpertChoiceOptions options)
    : Router(std::move(shape)), options_(options) {
  if (!(options_.factor > 0 && options_.factor <= static_cast<double>(num_experts()))) {
    fail_usage(
        "--expert-choice-factor {}: allowed is more than 0, and at most {} "
        "(--moe-expert-count)",
        options_.factor, num_experts());
  }
}

Routing ExpertChoiceRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto routed_T = routed_rows(context, T);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  auto score_TE = probability_TE.detach();
  auto rows = T;
  if (routed_T.defined()) {
    score_TE = score_TE.masked_fill(routed_T.logical_not().unsqueeze(1), -1);
    rows = routed_T.sum().item<int64_t>();
  }
  const auto places = static_cast<int64_t>(
      std::round(options_.factor * static_cast<double>(rows) / static_cast<double>(num_experts())));
  // Stable: of equal ones the first token.
  const auto token_TE = std::get<1>(score_TE.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
  const auto selected_TE =
      torch::zeros_like(logits_TE, torch::kBool)
          .scatter_(0, token_TE.slice(0, 0, std::min(places, rows)), /*value=*/true);
  auto routing = Routing::from_mask(selected_TE, probability_TE);
  routing.losses.push_back(no_balance_loss(probability_TE));
  complete(routing, logits_TE, probability_TE, selected_TE, valid_rows(context, T));
  return routing;
}

}  // namespace evomoe
