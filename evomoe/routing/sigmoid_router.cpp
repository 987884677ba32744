// DeepSeek-V3's sigmoid gate with a bias in the place of a balance loss, arXiv 2412.19437.
#include "evomoe/routing/sigmoid_router.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void SigmoidOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("sigmoid-score", &score,
           "sigmoid: what makes a logit a score: its sigmoid, the root of its softplus, or the "
           "softmax over all experts.")
      .choices({"sigmoid", "sqrtsoftplus", "softmax"})
      .shapes_model();
  table
      .add("sigmoid-scale", &scale,
           "sigmoid: what the combine weights are multiplied by (DeepSeek-V3: 2.5).")
      .above(0)
      .shapes_model();
  table
      .add("sigmoid-groups", &groups,
           "sigmoid: groups of neighbouring experts; a token uses experts of --sigmoid-top-groups "
           "of them. 0: no groups.")
      .at_least(0)
      .shapes_model();
  table
      .add("sigmoid-top-groups", &top_groups,
           "sigmoid: groups that a token uses: those with the largest sum of their two best "
           "scores.")
      .at_least(0)
      .shapes_model();
  table
      .add(
          "sigmoid-bias-rule", &bias_rule,
          "sigmoid: how the bias moves after an update: by the sign of (mean load - load), by that "
          "less its mean, in proportion to it, or with momentum and clipped (smebu).")
      .choices({"sign", "sign_centered", "proportional", "smebu"});
  table.add("sigmoid-bias-rate", &bias_rate, "sigmoid: step of the bias in an update; 0: none.")
      .at_least(0);
  table
      .add("sigmoid-sequence-wt", &sequence_weight,
           "sigmoid: weight of the loss that balances the experts within each sequence.")
      .at_least(0);
}

void SigmoidOptions::validate() const {
  if ((groups > 0) != (top_groups > 0)) {
    fail_usage("--sigmoid-groups {} with --sigmoid-top-groups {}: give both, or neither", groups,
               top_groups);
  }
  if (top_groups > groups) {
    fail_usage("--sigmoid-top-groups {}: allowed are 1 to {} (--sigmoid-groups)", top_groups,
               groups);
  }
}

SigmoidRouter::SigmoidRouter(RouterShape shape, TopkOptions topk, SigmoidOptions options)
    : Router(std::move(shape)), topk_(topk), options_(std::move(options)) {
  const auto E = num_experts();
  check_experts_per_token(topk_.k, E);
  if (options_.groups > 0) {
    if (E % options_.groups != 0) {
      fail_usage("--sigmoid-groups {} does not divide --moe-expert-count {}", options_.groups, E);
    }
    if (const auto allowed = E / options_.groups * options_.top_groups; topk_.k > allowed) {
      fail_usage(
          "--moe-k {}: the {} groups that a token uses have {} experts only "
          "(--sigmoid-groups {}, --moe-expert-count {})",
          topk_.k, options_.top_groups, allowed, options_.groups, E);
    }
  }
  add_buffer(bias_E_, "bias", torch::zeros({E}));
  if (options_.bias_rule == "smebu") add_buffer(momentum_E_, "bias_momentum", torch::zeros({E}));
}

torch::Tensor SigmoidRouter::score(const torch::Tensor& logits_TE) const {
  if (options_.score == "softmax") return torch::softmax(logits_TE, /*dim=*/1);
  if (options_.score == "sqrtsoftplus") return torch::softplus(logits_TE).sqrt();
  return torch::sigmoid(logits_TE);
}

torch::Tensor SigmoidRouter::limited_to_groups(const torch::Tensor& choice_TE) const {
  const auto T = choice_TE.size(0), E = choice_TE.size(1), G = options_.groups;
  if (G == 0) return choice_TE;
  const auto in_group_TGM = choice_TE.view({T, G, E / G});
  const auto group_TG =
      std::get<0>(in_group_TGM.topk(std::min<int64_t>(2, E / G), /*dim=*/2)).sum(2);
  const auto kept_TG = selection_mask(largest(group_TG, options_.top_groups), G);
  // Not 0, which would win over experts with a negative bias.
  return in_group_TGM
      .masked_fill(kept_TG.logical_not().unsqueeze(2), -std::numeric_limits<double>::infinity())
      .view({T, E});
}

Routing SigmoidRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0);
  const auto valid_T = valid_rows(context, T);
  const auto score_TE = score(logits_TE);
  const auto expert_TK =
      largest(limited_to_groups(score_TE.detach() + bias_E_.to(score_TE.scalar_type())), topk_.k);
  auto selected_TE = selection_mask(expert_TK, num_experts());
  auto weight_TE = score_TE * options_.scale;
  // One weight divided by itself would leave the gate without a gradient.
  if (!topk_.no_normalize && topk_.k > 1) {
    weight_TE = weight_TE / (score_TE.gather(1, expert_TK).sum(1, /*keepdim=*/true) + 1e-20);
  }
  selected_TE = only_rows(selected_TE, routed_rows(context, T));
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  routing.losses.push_back(no_balance_loss(score_TE));
  if (context.training && options_.sequence_weight > 0) {
    const auto loss = sequence_balance(score_TE, valid_T, context.noise.sequence_length);
    routing.losses.push_back({"sequence_balance", options_.sequence_weight * loss});
  }
  complete(routing, logits_TE, torch::softmax(logits_TE, /*dim=*/1), selected_TE, valid_T);
  return routing;
}

torch::Tensor SigmoidRouter::sequence_balance(const torch::Tensor& score_TE,
                                              const torch::Tensor& valid_T,
                                              int64_t sequence_length) const {
  const auto T = score_TE.size(0), E = num_experts();
  if (T == 0) return score_TE.sum();
  const auto S = sequence_length > 0 && T % sequence_length == 0 ? sequence_length : T;
  // Of the choice without bias and groups.
  auto chosen_TE =
      selection_mask(largest(score_TE.detach(), topk_.k), E).to(score_TE.scalar_type());
  auto share_TE = score_TE / (score_TE.sum(1, /*keepdim=*/true) + 1e-20);
  auto count_B = torch::full({T / S}, S, score_TE.options().requires_grad(false));
  if (valid_T.defined()) {
    const auto valid_T1 = valid_T.unsqueeze(1);
    chosen_TE = chosen_TE * valid_T1;
    share_TE = share_TE * valid_T1;
    count_B = valid_T.view({T / S, S}).sum(1).to(score_TE.scalar_type());
  }
  const auto mean_BE = [&](const torch::Tensor& value_TE) {
    return value_TE.view({T / S, S, E}).sum(1) / count_B.clamp_min(1).unsqueeze(1);
  };
  const auto balance_B = (mean_BE(chosen_TE) * mean_BE(share_TE)).sum(1) *
                         (static_cast<double>(E) / static_cast<double>(topk_.k));
  return balance_B.sum() / (count_B > 0).sum().clamp_min(1);
}

void SigmoidRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  if (options_.bias_rate == 0) return;
  const torch::NoGradGuard no_grad;
  const auto load_E = global.load_E.to(bias_E_.options());
  const auto mean = load_E.mean();
  auto step_E = mean - load_E;
  if (options_.bias_rule == "proportional" || options_.bias_rule == "smebu")
    step_E = step_E / mean.clamp_min(1e-20);
  if (options_.bias_rule == "sign" || options_.bias_rule == "sign_centered") step_E = step_E.sign();
  if (options_.bias_rule == "smebu") {
    // arXiv 2602.17004: steepness 2, momentum 0.5.
    step_E = (2 * step_E).tanh();
  }
  step_E = step_E * options_.bias_rate;
  if (options_.bias_rule == "sign_centered" || options_.bias_rule == "smebu")
    step_E = step_E - step_E.mean();
  if (options_.bias_rule == "smebu") {
    momentum_E_.mul_(0.5).add_(step_E, 0.5);
    step_E = momentum_E_;
  }
  bias_E_.add_(step_E);
}

}  // namespace evomoe
