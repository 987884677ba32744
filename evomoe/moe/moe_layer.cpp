#include "evomoe/moe/moe_layer.h"

#include <ATen/record_function.h>

#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/moe/expert_exchange.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/routing/registry.h"

namespace evomoe {
namespace {

ExpertBankOptions bank_options(const MoELayerOptions& options, const ExpertRange& experts) {
  return {.num_experts = experts.size(),
          .first_expert = experts.begin,
          .model_dim = options.router.model_dim,
          .hidden_dim = options.hidden_dim,
          .activation = options.activation,
          .gated = options.gated,
          .biases = options.biases,
          .activation_dropout = options.activation_dropout,
          .dropout = options.dropout,
          .recompute = options.recompute_experts,
          .layer = options.layer,
          .initial_seed = std::nullopt};  // the layer sets gate and experts together
}

torch::Tensor with_rows(const torch::Tensor& x, int64_t rows, const torch::Scalar& value) {
  auto sizes = x.sizes().vec();
  sizes[0] = rows - x.size(0);
  return torch::cat({x, torch::full(sizes, value, x.options().requires_grad(false))});
}

/// The context of a batch that was padded to `rows` rows: those beyond `real` are neither valid nor
/// routed.
RoutingContext padded(RoutingContext context, int64_t real, int64_t rows, torch::Device device) {
  if (!context.valid_T.defined()) {
    context.valid_T = torch::ones({real}, torch::dtype(torch::kBool).device(device));
  }
  context.valid_T = with_rows(context.valid_T, rows, false);
  if (context.routed_T.defined()) context.routed_T = with_rows(context.routed_T, rows, false);
  if (context.token_id_T.defined()) context.token_id_T = with_rows(context.token_id_T, rows, 0);
  return context;
}

/// Every token that may be routed to the one expert, with weight 1.
Routing shared_routing(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto index = x_TD.options().dtype(torch::kInt64).requires_grad(false);
  const auto T = x_TD.size(0);
  const auto& valid_T = context.valid_T;
  const auto& routed_T = context.routed_T.defined() ? context.routed_T : valid_T;
  Routing routing;
  routing.token_A = routed_T.defined() ? routed_T.nonzero().squeeze(1) : torch::arange(T, index);
  const auto A = routing.token_A.size(0);
  routing.weight_A = torch::ones({A}, x_TD.options().requires_grad(false));
  routing.offset_E1 = torch::tensor({int64_t{0}, A}, torch::kInt64);
  auto& stats = routing.stats;
  stats.tokens = valid_T.defined() ? valid_T.sum().item<int64_t>() : T;
  stats.assignments = A;
  stats.load_E = torch::tensor({stats.tokens}, index);
  stats.active_E1 = torch::tensor({int64_t{0}, stats.tokens}, index);
  stats.entropy_sum = torch::zeros({}, index.dtype(torch::kFloat64));
  stats.dropped = torch::zeros({}, index);
  stats.non_argmax = torch::zeros({}, index);
  return routing;
}

}  // namespace

MoELayerImpl::MoELayerImpl(const MoELayerOptions& options)
    : options_(options),
      shared_expert_(options.shared_expert),
      ranks_(std::make_shared<SelfCommunicator>()),
      owners_({{0, options.router.num_experts}}) {
  EVOMOE_CHECK(options.layer >= 0, "an MoE layer's number must be 0 or more, not {}",
               options.layer);
  router_ = register_module("gate", make_router(options.router));
  experts_ = register_module(
      "experts",
      ExpertBank(bank_options(options, options.shared_expert ? ExpertRange{0, 1} : owned())));
  if (options.initial_seed) initialise(*options.initial_seed);
}

void MoELayerImpl::initialise(uint64_t seed) {
  const torch::NoGradGuard no_grad;
  experts_->initialise(seed);
  router_->initialise(seed, options_.layer);
}

Routing MoELayerImpl::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  RECORD_USER_SCOPE("router");
  auto routing = router_->route(x_TD, context);
  const auto& capacity = options_.router.get<CapacityOptions>();
  const auto* ranks = context.communicator;
  if (capacity.scope == "global" && ranks != nullptr && ranks->size() > 1) {
    return apply_capacity_of_ranks(
        std::move(routing), x_TD.size(0),
        [&](int64_t rows) { return router_->capacity(rows, context.training); },
        capacity.drop_policy, context.valid_T, !context.stands_in, *context.communicator);
  }
  return apply_capacity(std::move(routing), router_->capacity(x_TD.size(0), context.training),
                        options_.router.get<CapacityOptions>().drop_policy, context.valid_T);
}

MoEOutput MoELayerImpl::forward(const torch::Tensor& x_BSD, const RoutingContext& given,
                                int64_t padded_batch) {
  const auto D = options_.router.model_dim;
  EVOMOE_CHECK(x_BSD.dim() == 3 && x_BSD.size(2) == D,
               "MoE layer {} takes [batch, sequence, {}], not {}", options_.layer, D,
               c10::str(x_BSD.sizes()));
  const auto B = x_BSD.size(0), S = x_BSD.size(1);
  EVOMOE_CHECK(padded_batch == 0 || B <= padded_batch,
               "MoE layer {} got {} sequences, more than the batch size {} it pads to; raise "
               "--batch-size (or --batch-size-valid) or make the batches smaller",
               options_.layer, B, padded_batch);
  auto context = given;
  context.noise.layer = static_cast<uint32_t>(options_.layer);
  auto x_TD = x_BSD.reshape({B * S, D});
  EVOMOE_CHECK(!context.valid_T.defined() || context.valid_T.numel() == B * S,
               "MoE layer {}: the mask of valid tokens has {} entries for {} tokens",
               options_.layer, context.valid_T.numel(), B * S);
  EVOMOE_CHECK(!context.routed_T.defined() || context.routed_T.numel() == B * S,
               "MoE layer {}: the mask of routed tokens has {} entries for {} tokens",
               options_.layer, context.routed_T.numel(), B * S);

  const bool dropout = context.training && !context.without_dropout;
  MoEOutput output;
  if (shared_expert_) {
    const auto routing = shared_routing(x_TD, context);
    const auto y_TD = experts_->forward(x_TD, routing, context.noise, dropout);
    output.y_BSD = y_TD.view({B, S, D});
    output.stats = routing.stats;
    return output;
  }
  if (padded_batch > B) {
    context = padded(std::move(context), B * S, padded_batch * S, x_TD.device());
    x_TD = with_rows(x_TD, padded_batch * S, 0);
  }
  auto routing = route(x_TD, context);
  if (watcher_) watcher_(routing, context);
  auto y_TD = apply_experts(x_TD, routing, context);
  if (routing.identity_T.defined())
    y_TD = y_TD + x_TD * routing.identity_T.unsqueeze(1).to(x_TD.scalar_type());
  if (routing.vector_weight_TN.defined())
    y_TD = y_TD + routing.vector_weight_TN.to(y_TD.scalar_type())
                      .mm(routing.vector_ND.to(y_TD.scalar_type()));
  output.y_BSD = y_TD.slice(0, 0, B * S).view({B, S, D});
  output.losses = std::move(routing.losses);
  output.stats = std::move(routing.stats);
  return output;
}

torch::Tensor MoELayerImpl::apply_experts(const torch::Tensor& x_TD, const Routing& routing,
                                          const RoutingContext& context) {
  const bool dropout = context.training && !context.without_dropout;
  if (ranks_->size() == 1) return experts_->forward(x_TD, routing, context.noise, dropout);
  const ExpertExchange exchange(routing, x_TD.size(0), context.noise, owners_, ranks_,
                                options_.layer);
  const auto visiting = exchange.dispatch(x_TD);
  return exchange.combine(experts_->forward(visiting.x_ND, visiting.routing, visiting.noise,
                                            dropout, visiting.noise_token_N));
}

void MoELayerImpl::hold(const ExpertRange& experts, const ExpertWeights& weights) {
  const torch::NoGradGuard no_grad;
  ExpertBank bank(bank_options(options_, experts));
  bank->to(weights.w1_EHD.device(), weights.w1_EHD.scalar_type());
  for_each_weight(
      [](torch::Tensor& to, const torch::Tensor& from) {
        if (from.defined()) to.copy_(from);
      },
      bank->weights, weights);
  experts_ = replace_module("experts", bank);
}

void MoELayerImpl::divide_experts(std::shared_ptr<Communicator> ranks) {
  EVOMOE_CHECK(ranks_->size() == 1, "the experts of MoE layer {} are divided among ranks already",
               options_.layer);
  owners_ = expert_owners(router_->num_experts(), ranks->size());
  ranks_ = std::move(ranks);
  if (shared_expert_ || ranks_->size() == 1) return;
  hold(owned(), of_each_weight(experts_->weights, [&](const torch::Tensor& of_all) {
         return of_all.slice(0, owned().begin, owned().end);
       }));
}

void MoELayerImpl::spawn(int64_t num_experts, const DiversifyOptions& options, uint64_t seed) {
  EVOMOE_CHECK(shared_expert_,
               "MoE layer {} has {} experts already; experts are spawned once, at the end of the "
               "shared-expert stage",
               options_.layer, experts_->num_experts());
  EVOMOE_CHECK(num_experts == router_->num_experts(),
               "MoE layer {} cannot spawn {} experts: its router has {} (--moe-expert-count)",
               options_.layer, num_experts, router_->num_experts());
  hold(owned(), diversify(experts_->weights, owned(), options, seed, options_.layer));
  shared_expert_ = false;
}

}  // namespace evomoe
