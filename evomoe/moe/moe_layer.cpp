#include "evomoe/moe/moe_layer.h"

#include <ATen/record_function.h>

#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/moe/expert_exchange.h"
#include "evomoe/ops/noise.h"
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

/// A routing of as many experts by which no token has one.
Routing no_assignments(const Routing& like) {
  Routing routing;
  routing.token_A = like.token_A.slice(0, 0, 0);
  routing.weight_A = like.weight_A.slice(0, 0, 0);
  routing.offset_E1 = torch::zeros_like(like.offset_E1);
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

  if (watch_input_) watch_input_(x_TD, context);
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
  if (watch_routing_) watch_routing_(routing, context);
  auto y_TD = apply_experts(x_TD, routing, context, routing.stats);
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

torch::Tensor MoELayerImpl::apply_experts(const torch::Tensor& x_TD, const Routing& given,
                                          const RoutingContext& context, RouterStats& stats) {
  // A router that watches outputs must not see those of rows that stand in: they count nowhere, so
  // that they need no expert.
  const bool without = context.stands_in && context.training && router_->watches_outputs();
  const auto routing = without ? no_assignments(given) : given;
  if (ranks_->size() == 1)
    return apply_own_experts(x_TD, routing, context, context.noise, {}, stats);
  // While the experts compute one part of the tokens, others travel.
  const auto T = x_TD.size(0);
  std::vector<ExpertExchange> parts;
  for (int64_t i = 0; i < exchange_parts_; ++i) {
    const TokenRange tokens{T * i / exchange_parts_, T * (i + 1) / exchange_parts_};
    parts.emplace_back(exchange_parts_ == 1 ? routing : routing.of_tokens(tokens.begin, tokens.end),
                       tokens, context.noise, owners_, ranks_, options_.layer);
  }
  for (auto& part : parts) part.start_dispatch(x_TD);
  for (auto& part : parts) {
    const auto visiting = part.visiting();
    part.start_combine(apply_own_experts(visiting.x_ND, visiting.routing, context, visiting.noise,
                                         visiting.noise_token_N, stats));
  }
  std::vector<torch::Tensor> y_of_parts;
  for (auto& part : parts) y_of_parts.push_back(part.combined());
  return y_of_parts.size() == 1 ? y_of_parts.front() : torch::cat(y_of_parts);
}

torch::Tensor MoELayerImpl::apply_own_experts(const torch::Tensor& x_TD, const Routing& routing,
                                              const RoutingContext& context, const NoiseKey& noise,
                                              const torch::Tensor& noise_token_T,
                                              RouterStats& stats) {
  const bool dropout = context.training && !context.without_dropout;
  if (!context.training || !router_->watches_outputs())
    return experts_->forward(x_TD, routing, noise, dropout, noise_token_T);
  torch::Tensor sum_ED;
  auto y_TD = experts_->forward(x_TD, routing, noise, dropout, noise_token_T, &sum_ED);
  auto& all_ED1 = stats.output_sum_ED1;
  const auto D = options_.router.model_dim;
  if (!all_ED1.defined()) {
    all_ED1 = torch::zeros({router_->num_experts(), D + 1},
                           torch::dtype(torch::kFloat64).device(x_TD.device()));
  }
  const auto own_ED1 = all_ED1.slice(0, owned().begin, owned().end);
  own_ED1.slice(1, 0, D).add_(sum_ED);
  own_ED1.select(1, D).add_(routing.offset_E1.diff().to(own_ED1.device()));
  return y_TD;
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

void MoELayerImpl::divide_experts(std::shared_ptr<Communicator> ranks, int64_t exchange_parts) {
  EVOMOE_CHECK(ranks_->size() == 1, "the experts of MoE layer {} are divided among ranks already",
               options_.layer);
  owners_ = expert_owners(router_->num_experts(), ranks->size());
  ranks_ = std::move(ranks);
  exchange_parts_ = exchange_parts;
  if (shared_expert_ || ranks_->size() == 1) return;
  hold(owned(), of_each_weight(experts_->weights, [&](const torch::Tensor& of_all) {
         return of_all.slice(0, owned().begin, owned().end);
       }));
}

void MoELayerImpl::point_gate(const torch::Tensor& centroid_ED) {
  const torch::NoGradGuard no_grad;
  auto& weight_ED = router_->gate_weight();
  const auto length = weight_ED.norm(2, 1).mean();
  weight_ED.copy_(centroid_ED.to(weight_ED.device(), weight_ED.scalar_type()) * length);
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

void MoELayerImpl::grow(int64_t num_experts, double noise, uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const auto n = router_->num_experts();
  EVOMOE_CHECK(!shared_expert_ && ranks_->size() == 1, "MoE layer {} cannot grow {}",
               options_.layer,
               shared_expert_ ? "in the shared-expert stage"
                              : "while ranks share its experts (--expert-parallel-size 1)");
  EVOMOE_CHECK(num_experts > n && num_experts % n == 0,
               "MoE layer {} cannot grow from {} to {} experts: each becomes equally many",
               options_.layer, n, num_experts);
  const auto times = num_experts / n;
  const auto copies = [times](const torch::Tensor& of_n) {
    std::vector<int64_t> repeats(static_cast<size_t>(of_n.dim()), 1);
    repeats.at(0) = times;
    return of_n.repeat(repeats);
  };
  options_.router.num_experts = num_experts;
  owners_ = {{0, num_experts}};
  const auto before = router_;
  const auto& gate = before->gate_weight();
  router_ = make_router(options_.router);
  router_->to(gate.device(), gate.scalar_type());
  const auto take_over = [&](auto to, const auto& from) {
    for (auto& item : to) {
      const auto& of_n = from[item.key()];
      item.value().copy_(of_n.sizes() == item.value().sizes() ? of_n : copies(of_n));
    }
  };
  take_over(router_->named_parameters(), before->named_parameters());
  take_over(router_->named_buffers(), before->named_buffers());
  router_ = replace_module("gate", router_);

  NoiseKey key;
  key.seed = seed;
  key.layer = static_cast<uint32_t>(options_.layer);
  key.site = NoiseSite::kRouterGrowth;
  auto new_rows = router_->gate_weight().slice(0, n);
  const auto row_noise = normal_noise(num_experts, gate.size(1), key, gate.device()).slice(0, n);
  new_rows.add_(row_noise.to(gate.scalar_type()) * (noise * gate.std(/*unbiased=*/false)));
  hold(owned(), of_each_weight(experts_->weights, copies));
}

}  // namespace evomoe
