// SparseMixer, arXiv 2310.00811, and its second version, arXiv 2409.12136.
#include "evomoe/routing/sparsemixer_router.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/selection.h"

namespace evomoe {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

/// One choice of each token.
struct SampledExpert {
  torch::Tensor probability_TE;  ///< softmax over the candidates, on the graph
  torch::Tensor expert_T1;
  torch::Tensor probability_T1;  ///< of the expert
  torch::Tensor in_full_T1;      ///< bool: the weight is not reduced
};

/// `free_TE`: experts that may be chosen. Undefined noise: the most probable expert, in full.
SampledExpert sample_expert(const torch::Tensor& logits_TE, const torch::Tensor& free_TE,
                            double epsilon, const torch::Tensor& gumbel_TE,
                            const torch::Tensor& uniform_T, double reduced_share) {
  const auto left_TE = logits_TE.masked_fill(free_TE.logical_not(), kMinusInfinity);
  const auto value_TE = left_TE.detach();
  const auto [most_T1, best_T1] = value_TE.max(/*dim=*/1, /*keepdim=*/true);
  const auto size_TE = torch::maximum(value_TE.abs(), most_T1);
  const auto far_TE = (most_T1 - value_TE) / size_TE > 2 * epsilon;
  const auto out_TE = far_TE.logical_or(free_TE.logical_not());
  SampledExpert choice;
  choice.probability_TE = torch::softmax(left_TE.masked_fill(out_TE, kMinusInfinity), /*dim=*/1);
  choice.expert_T1 = best_T1;
  choice.in_full_T1 = torch::ones_like(best_T1, torch::kBool);
  if (gumbel_TE.defined()) {
    choice.expert_T1 = (value_TE + gumbel_TE).masked_fill(out_TE, kMinusInfinity).argmax(1, true);
    choice.in_full_T1 = choice.expert_T1 == best_T1;
    if (uniform_T.defined())
      choice.in_full_T1.logical_or_((uniform_T > reduced_share).to(value_TE.device()).unsqueeze(1));
  }
  choice.probability_T1 = choice.probability_TE.gather(1, choice.expert_T1);
  return choice;
}

/// The probability, times `reduced` where it does not count in full, with the gradient of the
/// probability times `slope`.
torch::Tensor weight_of(const SampledExpert& choice, double reduced, double slope) {
  const auto& p_T1 = choice.probability_T1;
  const auto value_T1 = torch::where(choice.in_full_T1, p_T1, p_T1 * reduced).detach();
  const auto sloped_T1 = slope * p_T1;
  return value_T1 + (sloped_T1 - sloped_T1.detach());
}

}  // namespace

void SparseMixerOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("sparsemixer-epsilon", &epsilon,
           "sparsemixer, sparsemixer2: an expert is sampled only if its logit is below the largest "
           "one by no more than twice this, relative to the larger of the two sizes.")
      .above(0);
}

Routing SparseMixerRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto valid_T = valid_rows(context, T);
  torch::Tensor gumbel_TE, uniform_T;
  if (context.training) {
    gumbel_TE = gate_noise(context.gumbel_TE, NoiseSite::kGateGumbel, logits_TE, context);
    uniform_T = choice_noise(0, T, context);
  }
  const auto choice = sample_expert(logits_TE, torch::ones_like(logits_TE, torch::kBool),
                                    options_.epsilon, gumbel_TE, uniform_T, /*reduced_share=*/0.5);
  auto weight_T1 =
      context.training ? weight_of(choice, /*reduced=*/0.5, /*slope=*/2) : choice.probability_T1;
  auto selected_TE = selection_mask(choice.expert_T1, num_experts());
  selected_TE = only_rows(selected_TE, routed_rows(context, T));
  auto routing = Routing::from_mask(selected_TE, weight_T1.expand_as(logits_TE));
  complete(routing, logits_TE, torch::softmax(logits_TE, /*dim=*/1), selected_TE, valid_T);
  routing.losses.insert(
      routing.losses.begin(),
      balance_of_valid(choice.probability_TE, routing.stats, valid_T, /*k=*/1, context));
  return routing;
}

SparseMixer2Router::SparseMixer2Router(RouterShape shape, SparseMixerOptions options,
                                       TopkOptions topk)
    : Router(std::move(shape)), options_(options), topk_(topk) {
  check_experts_per_token(topk_.k, num_experts());
  if (topk_.k > 2)
    fail_usage("--moe-k {} with --moe-router sparsemixer2: allowed are 1 and 2", topk_.k);
}

Routing SparseMixer2Router::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto valid_T = valid_rows(context, T);
  auto free_TE = torch::ones_like(logits_TE, torch::kBool);
  auto selected_TE = torch::zeros_like(logits_TE, torch::kBool);
  auto weight_TE = torch::zeros_like(logits_TE).detach();
  for (int64_t i = 0; i < topk_.k; ++i) {
    torch::Tensor gumbel_TE, uniform_T;
    if (context.training) {
      gumbel_TE = i == 0 ? gate_noise(context.gumbel_TE, NoiseSite::kGateGumbel, logits_TE, context)
                         : gate_noise(context.second_gumbel_TE, NoiseSite::kSecondExpertGumbel,
                                      logits_TE, context);
      uniform_T = choice_noise(i, T, context);
    }
    const auto choice = sample_expert(logits_TE, free_TE, options_.epsilon, gumbel_TE, uniform_T,
                                      /*reduced_share=*/0.75);
    const auto weight_T1 = context.training ? weight_of(choice, /*reduced=*/0.3333, /*slope=*/1)
                                            : choice.probability_T1;
    weight_TE = weight_TE.scatter(1, choice.expert_T1, weight_T1);
    selected_TE.scatter_(1, choice.expert_T1, /*value=*/true);
    free_TE = selected_TE.logical_not();
  }
  selected_TE = only_rows(selected_TE, routed_rows(context, T));
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);
  complete(routing, logits_TE, probability_TE, selected_TE, valid_T);
  routing.losses.insert(
      routing.losses.begin(),
      balance_of_valid(probability_TE, routing.stats, valid_T, static_cast<double>(topk_.k), context));
  return routing;
}

}  // namespace evomoe
