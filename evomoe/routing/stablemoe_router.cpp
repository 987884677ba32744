// StableMoE, arXiv 2204.08396: routing that is distilled and then fixed.
#include "evomoe/routing/stablemoe_router.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/selection.h"

namespace evomoe {

void StableMoeOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("stablemoe-stage1-updates", &stage1_updates,
           "stablemoe: updates until the expert of each word is fixed.")
      .at_least(0);
  table
      .add("stablemoe-distill-dim", &distill_dim,
           "stablemoe: width of the word embedding of the distilled router.")
      .at_least(1)
      .shapes_model();
  table
      .add("stablemoe-balance-wt", &balance_weight,
           "stablemoe: weight of its balance loss, in stage 1.")
      .at_least(0);
  table
      .add("stablemoe-distill-wt", &distill_weight,
           "stablemoe: weight of the loss of the distilled router, in stage 1.")
      .at_least(0);
}

StableMoeRouter::StableMoeRouter(RouterShape shape, StableMoeOptions options)
    : Router(std::move(shape)), options_(options) {
  const auto V = shape_.vocab_size, E = num_experts(), F = options_.distill_dim;
  add_parameter(embedding_VF_, "distill_embedding", torch::zeros({V, F}));
  add_parameter(centroid_EF_, "distill_centroid", torch::zeros({E, F}));
  add_buffer(updates_, "updates", torch::zeros({}, torch::kInt64));
  add_buffer(table_V_, "table", torch::full({V}, -1, torch::kInt64));
}

void StableMoeRouter::initialise(uint64_t seed, int64_t layer) {
  Router::initialise(seed, layer);
  const double bound = 1.0 / std::sqrt(static_cast<double>(options_.distill_dim));
  fill_uniform(embedding_VF_, bound, seed, layer, /*part=*/1);
  fill_uniform(centroid_EF_, bound, seed, layer, /*part=*/2);
}

torch::Tensor StableMoeRouter::distilled(const torch::Tensor& id_N) const {
  const auto type = torch::promote_types(embedding_VF_.scalar_type(), torch::kFloat32);
  return torch::embedding(embedding_VF_, id_N).to(type).mm(centroid_EF_.to(type).t());
}

void StableMoeRouter::freeze() {
  const torch::NoGradGuard no_grad;
  if (table_V_.size(0) == 0 || table_V_[0].item<int64_t>() >= 0) return;
  constexpr int64_t kPiece = 65536;
  const auto id_V =
      torch::arange(table_V_.size(0), torch::dtype(torch::kInt64).device(table_V_.device()));
  for (const auto& id_N : id_V.split(kPiece))
    table_V_.index_copy_(0, id_N, distilled(id_N).argmax(1).to(table_V_.scalar_type()));
}

Routing StableMoeRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const auto T = logits_TE.size(0), E = num_experts();
  const auto valid_T = valid_rows(context, T);
  EVOMOE_CHECK(context.token_id_T.defined() && context.token_id_T.numel() == T,
               "router `stablemoe` needs the token id of each of the {} rows", T);
  EVOMOE_CHECK(T == 0 || context.token_id_T.max().item<int64_t>() < table_V_.size(0),
               "router `stablemoe` knows {} words, and a token has the id {}", table_V_.size(0),
               context.token_id_T.max().item<int64_t>());
  const bool fixed = updates_.item<int64_t>() >= options_.stage1_updates;
  if (fixed) freeze();
  const bool learns = context.training && !fixed;
  torch::Tensor distilled_TE;
  if (!fixed) {
    // In evaluation the light router chooses already.
    distilled_TE = distilled(context.token_id_T);
  }
  const auto expert_T = fixed ? table_V_.index_select(0, context.token_id_T).to(torch::kInt64)
                              : (learns ? logits_TE : distilled_TE).detach().argmax(/*dim=*/1);
  auto selected_TE = selection_mask(expert_T.unsqueeze(1), E);
  selected_TE = only_rows(selected_TE, routed_rows(context, T));
  const auto weight_TE = torch::sigmoid(logits_TE);
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  routing.losses.push_back(no_balance_loss(logits_TE));
  if (learns) {
    routing.losses.push_back(
        {"stablemoe_balance",
         options_.balance_weight * stage1_balance(weight_TE, selected_TE, valid_T)});
    const auto wrong_T =
        torch::nll_loss(torch::log_softmax(distilled_TE, 1), expert_T, {}, at::Reduction::None);
    routing.losses.push_back(
        {"distill", options_.distill_weight * mean_of_valid(wrong_T, valid_T)});
  }
  complete(routing, logits_TE, torch::softmax(logits_TE, /*dim=*/1), selected_TE, valid_T);
  return routing;
}

torch::Tensor StableMoeRouter::stage1_balance(const torch::Tensor& weight_TE,
                                              const torch::Tensor& selected_TE,
                                              const torch::Tensor& valid_T) const {
  auto chosen_TE = selected_TE.to(weight_TE.scalar_type());
  if (valid_T.defined()) chosen_TE = chosen_TE * valid_T.unsqueeze(1);
  // Its eq. 3: experts with more than the mean load get lower logits, those with less higher ones.
  const auto load_E = chosen_TE.sum(0);
  const auto tokens = load_E.sum().clamp_min(1);
  const auto excess_E = load_E * (static_cast<double>(num_experts()) / tokens) - 1;
  return (excess_E * (weight_TE * chosen_TE).sum(0)).sum() / tokens;
}

void StableMoeRouter::end_update(const RouterStats& global, const LayerStats& layers) {
  updates_.add_(1);
}

}  // namespace evomoe
