#include "evomoe/train/trainer.h"

#include <ATen/record_function.h>
#include <fmt/ranges.h>

#include <cmath>
#include <span>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/models/parameter_kinds.h"
#include "evomoe/moe/spherical_kmeans.h"
#include "evomoe/ops/noise.h"
#include "evomoe/optim/gradient_norm.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/contexts.h"
#include "evomoe/train/load_into.h"
#include "evomoe/train/optimizer_settings.h"
#include "evomoe/train/rank_sums.h"
#include "evomoe/train/settings.h"

namespace evomoe {
namespace {

/// Adds the statistics of a micro-batch to those of the update.
void add_stats(std::vector<std::pair<int64_t, RouterStats>>& sums, const ModelOutput& output) {
  if (sums.empty()) {
    sums = output.stats;
    return;
  }
  for (size_t i = 0; i < sums.size(); ++i) sums[i].second += output.stats[i].second;
}

/// One pass: a sum is NaN or Inf when an element is (or, which is no better, when it overflows).
bool all_finite(const torch::Tensor& tensor) {
  return std::isfinite(tensor.detach().sum(torch::kDouble).item<double>());
}

template <typename... Args>
[[noreturn]] void diverged(fmt::format_string<Args...> format, Args&&... args) {
  throw DivergenceError(fmt::format(format, std::forward<Args>(args)...));
}

/// The name of the first parameter for which `holds` is true on a rank. All ranks call it.
template <typename Holds>
std::optional<std::string> first_of_any_rank(const std::vector<NamedParameter>& parameters,
                                             Communicator& ranks, const Holds& holds) {
  std::vector<double> where;
  for (const auto& parameter : parameters) where.push_back(holds(parameter) ? 1 : 0);
  ranks.all_reduce_sum(where);
  for (size_t i = 0; i < where.size(); ++i) {
    if (where[i] > 0) return parameters[i].name;
  }
  return std::nullopt;
}

/// So many skipped updates in a row are no accident.
constexpr int64_t kMostSkipped = 100;

}  // namespace

std::vector<NamedParameter> named_parameters(const torch::nn::Module& model) {
  const auto kinds = parameter_kinds(model);
  std::vector<NamedParameter> parameters;
  for (const auto& item : model.named_parameters())
    parameters.push_back({item.key(), item.value(), kinds.at(item.key())});
  return parameters;
}

std::vector<std::pair<std::string, torch::Tensor>> named_state(const torch::nn::Module& model) {
  std::vector<std::pair<std::string, torch::Tensor>> state;
  for (const auto& item : model.named_parameters()) state.emplace_back(item.key(), item.value());
  for (const auto& item : model.named_buffers()) state.emplace_back(item.key(), item.value());
  return state;
}

Trainer::Trainer(const TrainOptions& options, const Vocabulary& vocabulary, torch::Device device,
                 RankGroups ranks)
    : Trainer(options, vocabulary, device, /*completed_updates=*/0,
              stage_at(options.evolution, 0).stage == Stage::kSharedExpert, std::move(ranks)) {
  model_->initialise(static_cast<uint64_t>(options.common.seed));
}

Trainer::Trainer(const TrainOptions& options, const Vocabulary& vocabulary, torch::Device device,
                 int64_t completed_updates, bool shared_expert, RankGroups ranks, int64_t experts)
    : options_(options),
      all_experts_(options.moe.moe_expert_count),
      device_(device),
      lr_schedule_(options.optimization.schedule(completed_updates, /*spent=*/{})),
      criterion_(options.criterion, vocabulary.padding, options.task.classification_head_name),
      ranks_(std::move(ranks)),
      updates_(completed_updates) {
  validate(options_.evolution);
  lr_schedule_.validate();
  check_zero_stage(options, ranks_.all->size());
  options_.moe.moe_expert_count =
      experts > 0 ? experts : experts_at(options.evolution, all_experts_, completed_updates);
  model_ = make_model(options_, vocabulary, shared_expert);
  // Nothing is spawned in a dense model, nor grown.
  if (model_->moe_layers().empty()) options_.evolution.lr_rewarmup_updates = 0;
  for (auto& [layer, moe] : model_->moe_layers())
    moe->divide_experts(ranks_.experts, options.distributed.expert_exchange_parts);
  model_->to(device_);
  freeze();
  shards_ = std::make_unique<ParameterShards>(
      *model_, named_parameters(*model_), ranks_, shares_experts(),
      ZeroSettings{.stage = zero_stage(options.distributed),
                   .keep_whole = options.distributed.no_reshard_after_forward});
  optimizer_ = std::make_unique<Optimizer>(shards_->own(), options.optimizer.make_rule(),
                                           optimizer_settings(options));
  gradients_ = std::make_unique<GradientSync>(*shards_, ranks_);
}

UpdateResult Trainer::update(const std::vector<Batch>& micro_batches, int64_t epoch) {
  UpdateResult result;
  result.lr = next_lr(epoch);
  begin_update(micro_batches, result);
  gradients_->begin_update(optimizer_->updated());
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    forward_backward(micro_batches[i], static_cast<int64_t>(i), i + 1 == micro_batches.size(),
                     result);
  }
  sum_over_all_ranks(result);
  measure_gradients(result);
  if (!gradients_are_usable(result)) {
    result.applied = false;
    return result;
  }
  before_change_();
  RECORD_USER_SCOPE("optimiser");
  optimizer_->step(result.lr, result.clip_coefficient / result.sums.divisor());
  shards_->share_update();
  const auto layers = model_->moe_layers();
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto& moe = layers[i].second;
    if (!moe->in_shared_expert_stage())
      moe->router()->end_update(result.routers[i].second, result.routers);
  }
  ++updates_;
  return result;
}

void Trainer::begin_update(const std::vector<Batch>& micro_batches, UpdateResult& result) {
  result.stage = next_stage();
  // An update that is skipped right at the spawn comes here again with its experts.
  if (result.stage.spawn && holds_shared_expert()) {
    before_change_();
    if (options_.evolution.evolution_router_init == "kmeans") point_gates(micro_batches);
    spawn_experts();
    result.spawned = true;
  }
  // So does one that is skipped at a growth.
  const auto wanted = experts_at(options_.evolution, all_experts_, updates_);
  if (wanted > experts() && !model_->moe_layers().empty() && !holds_shared_expert()) {
    before_change_();
    result.grown_from = experts();
    grow_experts(wanted);
  }
  for (const auto& [layer, moe] : model_->moe_layers()) moe->router()->begin_update();
}

bool Trainer::holds_shared_expert() const {
  const auto layers = model_->moe_layers();
  return !layers.empty() && layers.front().second->in_shared_expert_stage();
}

void Trainer::point_gates(const std::vector<Batch>& micro_batches) {
  const auto experts = options_.moe.moe_expert_count;
  double tokens = 0;
  for (const auto& batch : micro_batches) {
    if (!batch.stands_in) tokens += static_cast<double>(batch.tokens);
  }
  ranks_.all->all_reduce_sum(tokens);
  // Some hundred tokens tell of a direction; of a large batch a part will do, the same one however
  // it is divided.
  constexpr int64_t kTokensOfExpert = 256;
  const double share = static_cast<double>(kTokensOfExpert * experts) / std::max(tokens, 1.0);
  struct Rows {
    std::vector<torch::Tensor> x, order;
  };
  auto layers = model_->moe_layers();
  std::vector<Rows> rows(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    layers[i].second->watch_input(
        [&rows = rows[i], share](const torch::Tensor& x_TD, const RoutingContext& context) {
          if (context.stands_in) return;
          auto key = context.noise;
          key.site = NoiseSite::kRouterDirections;
          const auto order_T = uniform_noise(x_TD.size(0), 1, key, x_TD.device()).squeeze(1);
          auto kept_T = order_T < share;
          if (context.valid_T.defined()) kept_T.logical_and_(context.valid_T);
          const auto kept_N = kept_T.nonzero().squeeze(1);
          rows.x.push_back(x_TD.index_select(0, kept_N).cpu());
          rows.order.push_back(order_T.index_select(0, kept_N).cpu());
        });
  }
  {
    const auto scope = evaluation(/*any_calls=*/false);
    const torch::NoGradGuard no_grad;
    for (const auto& batch : micro_batches) {
      auto context = training_context(options_, batch, updates_, *ranks_.all);
      context.training = false;  // without dropout
      model_->forward(to_device(batch, model_->padding_index(), device_).input, context);
    }
  }
  shards_->make_whole(/*with_values=*/true);
  for (size_t i = 0; i < layers.size(); ++i) {
    auto& moe = layers[i].second;
    moe->watch_input({});
    auto& [x, order] = rows[i];
    x.push_back(torch::zeros({0, moe->options().router.model_dim}));  // of a rank that has none
    order.push_back(torch::zeros({0}));
    moe->point_gate(spherical_kmeans(torch::cat(x), torch::cat(order), experts, *ranks_.all));
  }
}

void Trainer::spawn_experts() {
  const auto& diversify = options_.evolution.diversify;
  const auto experts = options_.moe.moe_expert_count;
  shards_->make_whole(/*with_values=*/true);
  for (auto& [layer, moe] : model_->moe_layers()) {
    moe->spawn(experts, diversify, static_cast<uint64_t>(options_.common.seed));
  }
  freeze();
  for (const auto& parameter : named_parameters(*model_)) {
    if (parameter.kind != ParameterKind::kExpert) continue;
    const auto before = shards_->of(parameter.name);
    shards_->replace(parameter.name, parameter.tensor);
    const auto& after = shards_->of(parameter.name);
    optimizer_->replace(parameter.name, after.own, [&](torch::Tensor moment, int power) {
      return after.part_of(diversify_moment(before.gathered(moment), power, experts,
                                            parameter.tensor.size(0), diversify.moments));
    });
  }
  gradients_->watch_parameters();
}

void Trainer::grow_experts(int64_t experts) {
  const auto times = experts / this->experts();
  options_.moe.moe_expert_count = experts;
  shards_->make_whole(/*with_values=*/true);
  for (auto& [layer, moe] : model_->moe_layers()) {
    moe->grow(experts, options_.evolution.growth_noise,
              static_cast<uint64_t>(options_.common.seed));
  }
  freeze();
  for (const auto& parameter : named_parameters(*model_)) {
    const auto before = shards_->of(parameter.name);
    if (before.whole.is_same(parameter.tensor)) continue;
    const bool copied = before.whole.sizes() != parameter.tensor.sizes();
    const auto n = before.whole.size(0);
    shards_->replace(parameter.name, parameter.tensor);
    const auto& after = shards_->of(parameter.name);
    optimizer_->replace(parameter.name, after.own, [&](const torch::Tensor& part, int power) {
      const auto moment = before.gathered(part);
      const bool of_experts = copied && moment.dim() > 0 && moment.size(0) == n;
      return after.part_of(
          of_experts ? copied_moment(moment, power, times, options_.evolution.diversify.moments)
                     : moment);
    });
  }
  gradients_->watch_parameters();
}

void Trainer::freeze() {
  const auto frozen = options_.optimizer.frozen();
  if (frozen.empty()) return;
  bool any_trained = false;
  for (const auto& parameter : named_parameters(*model_)) {
    const bool trained = !frozen.contains(parameter.kind);
    auto tensor = parameter.tensor;
    if (!trained) tensor.set_requires_grad(false);
    any_trained = any_trained || trained;
  }
  if (any_trained) return;
  fail_usage("--freeze {}: nothing is left to train: this model has no other parameters",
             fmt::join(options_.optimizer.freeze, ","));
}

void Trainer::forward_backward(const Batch& batch, int64_t micro_batch, bool last,
                               UpdateResult& result) {
  const auto device_batch = to_device(batch, model_->padding_index(), device_);
  auto context = training_context(options_, batch, updates_, *ranks_.all);
  if (recorded_noise_) {
    context.gate_gumbel = [this, micro_batch](int64_t layer) {
      return recorded_noise_(micro_batch, layer);
    };
  }
  const bool together = layers_talk();
  const torch::AutoGradMode with_gradients(together || !batch.stands_in);
  shards_->begin_forward();
  auto output = model_->forward(device_batch.input, context);
  auto [loss, sums] = criterion_(*model_, output, device_batch, context);
  gradients_->begin_backward(last);
  if (batch.stands_in) {
    forget(sums);
    for (auto& [layer, stats] : output.stats) forget(stats);
    loss = loss * 0;
  }
  double not_finite = std::isfinite(sums.loss) ? 0 : 1;
  if (together) ranks_.all->all_reduce_sum(not_finite);
  if (not_finite > 0) {
    if (options_.optimization.on_non_finite == "stop")
      explain_non_finite(
          batch, fmt::format("the loss is {}{}", sums.loss,
                             std::isfinite(sums.loss) ? ", and not finite on another rank" : ""));
  } else if (together || !batch.stands_in) {
    RECORD_USER_SCOPE("backward");
    loss.backward();
  }
  gradients_->end_backward();
  result.sums += sums;
  add_stats(result.routers, output);
  if (!batch.stands_in) result.flops += model_->training_flops(device_batch.input, output);
}

void Trainer::sum_over_all_ranks(UpdateResult& result) {
  sum_over_ranks(result.sums, *ranks_.all);
  sum_over_ranks(result.routers, *ranks_.all);
  ranks_.all->all_reduce_sum(std::span(&result.flops, 1));
  gradients_->finish();
}

bool Trainer::layers_talk() const {
  return ranks_.all->size() > 1 && (shares_experts() || shards_->settings().stage == 3 ||
                                    options_.moe.moe_balance_scope == "update" ||
                                    options_.routers.get<CapacityOptions>().scope == "global");
}

bool Trainer::shares_experts() const {
  return ranks_.experts->size() > 1 && !model_->moe_layers().empty() && !holds_shared_expert();
}

void Trainer::measure_gradients(UpdateResult& result) {
  RECORD_USER_SCOPE("gradient norm");
  result.gradient_norm = std::sqrt(gradients_->sum_of_squares()) / result.sums.divisor();
  result.clip_coefficient = clip_coefficient(result.gradient_norm, options_.optimization.clip_norm);
}

bool Trainer::gradients_are_usable(const UpdateResult& result) {
  if (std::isfinite(result.sums.loss) && std::isfinite(result.gradient_norm)) {
    skipped_ = 0;
    return true;
  }
  const auto parameter = non_finite_gradient();
  const auto found = parameter ? fmt::format("the gradient of {} is not finite", *parameter)
                               : fmt::format("the loss is {}", result.sums.loss);
  if (options_.optimization.on_non_finite == "stop") {
    diverged(
        "update {}: {}. Lower --lr or --clip-norm, or skip such updates with --on-non-finite skip; "
        "the last checkpoint is as it was",
        updates_ + 1, found);
  }
  check_parameters();  // skipping does not help a model that is broken already
  log().warn("update {}: {}; the update is skipped", updates_ + 1, found);
  if (++skipped_ == kMostSkipped) {
    diverged(
        "update {}: {} updates in a row were skipped, the last one because {}; lower --lr or look "
        "at the data",
        updates_ + 1, skipped_, found);
  }
  return false;
}

std::optional<std::string> Trainer::non_finite_parameter() const {
  for (const auto& parameter : optimizer_->parameters()) {
    if (!all_finite(parameter.tensor)) return parameter.name;
  }
  return std::nullopt;
}

std::optional<std::string> Trainer::non_finite_gradient() const {
  return first_of_any_rank(optimizer_->parameters(), *ranks_.all, [](const auto& parameter) {
    const auto& gradient = parameter.tensor.grad();
    return gradient.defined() && !all_finite(gradient);
  });
}

std::optional<std::string> Trainer::broken_parameter() const {
  if (!shares_experts() && shards_->settings().stage == 0) return non_finite_parameter();
  return first_of_any_rank(optimizer_->parameters(), *ranks_.all,
                           [](const auto& parameter) { return !all_finite(parameter.tensor); });
}

void Trainer::check_parameters() const {
  if (const auto name = broken_parameter()) {
    diverged(
        "after update {} the parameter {} is not finite; lower --lr or --clip-norm. No checkpoint "
        "was written of it: the last one is as it was",
        updates_, *name);
  }
}

void Trainer::explain_non_finite(const Batch& batch, const std::string& found) {
  std::string where;
  // Where layers do not need the other ranks this one is here alone.
  if (const auto name = layers_talk() ? broken_parameter() : non_finite_parameter())
    where = "the parameter " + *name + " is not finite";
  if (where.empty()) {
    const auto scope = evaluation(/*any_calls=*/false);
    const torch::NoGradGuard no_grad;
    const auto device_batch = to_device(batch, model_->padding_index(), device_);
    auto context = training_context(options_, batch, updates_, *ranks_.all);
    context.probe = [&](int64_t layer, const torch::Tensor& x) {
      if (where.empty() && !all_finite(x))
        where = fmt::format("the output of layer {} is not finite", layer);
    };
    model_->forward(device_batch.input, context);
  }
  if (where.empty())
    where = "all layers are finite, so it arises in the output projection or a gate loss";
  diverged(
      "update {}: {}; {}. Lower --lr or --clip-norm, or skip such updates with --on-non-finite "
      "skip; the last checkpoint is as it was",
      updates_ + 1, found, where);
}

std::vector<std::pair<int64_t, ExpertSimilarity>> Trainer::expert_similarity() const {
  std::vector<std::pair<int64_t, ExpertSimilarity>> found;
  for (const auto& [layer, moe] : model_->moe_layers()) {
    if (moe->in_shared_expert_stage()) continue;
    const auto& weights = moe->experts()->weights;
    std::vector<ExpertElements> matrices;
    for (const auto& matrix : {weights.w1_EHD, weights.w2_EDH, weights.w3_EHD}) {
      if (!matrix.defined()) continue;
      const auto& shard = shards_->of(matrix);
      const auto& options = moe->experts()->options();
      auto own = shard.own.detach().flatten();
      if (!shard.divided && shard.ranks->rank() != 0)
        own = own.slice(0, 0, 0);  // rank 0 has it too
      matrices.push_back({.own = own,
                          .of_expert = options.hidden_dim * options.model_dim,
                          .first_expert = options.first_expert,
                          .begin = shard.begin});
    }
    const auto similarity =
        similarity_of_experts(moe->options().router.num_experts, matrices, *ranks_.all);
    if (similarity) found.emplace_back(layer, *similarity);
  }
  return found;
}

TensorMap Trainer::model_state() const {
  TensorMap state;
  for (const auto& [name, tensor] : named_state(*model_)) state[name] = tensor.detach();
  if (shards_->is_divided()) {
    for (const auto& shard : shards_->all()) state[shard.name] = shard.own.detach();
  }
  return state;
}

TensorMap Trainer::optimizer_state() const { return optimizer_->state_dict(); }

TensorPieces Trainer::pieces() const {
  TensorPieces pieces;
  // `tensor`: of the parameter or of its state.
  const auto add = [&](const std::string& name, const torch::Tensor& tensor,
                       const ParameterShard& shard, bool divided) {
    const bool of_experts = shard.kind == ParameterKind::kExpert && shares_experts();
    if (!divided && (!of_experts || ranks_.replicas->rank() > 0)) return;
    auto shape = (divided ? shard.whole : tensor).sizes().vec();
    int64_t first = 0;  // of this rank's experts
    if (of_experts) {
      const auto owned = model_->moe_layers().front().second->owned();
      first = owned.begin * (c10::multiply_integers(shape) / owned.size());
      shape[0] = options_.moe.moe_expert_count;
    }
    const auto begin = first + (divided ? shard.begin : 0);
    if (tensor.numel() > 0) pieces[name] = {std::move(shape), begin, begin + tensor.numel()};
  };
  const auto state = optimizer_->state_dict();
  for (const auto& shard : shards_->all()) {
    if (shards_->is_divided())
      add(shard.name, shard.own, shard, shard.divided);
    else
      add(shard.name, shard.whole, shard, /*divided=*/false);
    const auto prefix = shard.name + ".";
    for (auto slot = state.lower_bound(prefix);
         slot != state.end() && slot->first.starts_with(prefix); ++slot) {
      if (slot->second.dim() > 0) add(slot->first, slot->second, shard, shard.divided);
    }
  }
  return pieces;
}

void Trainer::load_model_state(const TensorMap& state, const std::string& what,
                               const std::string& remedy) {
  shards_->make_whole(/*with_values=*/false);
  load_into(named_state(*model_), own_experts(state), what, remedy);
}

void Trainer::load_optimizer_state(const TensorMap& state) {
  auto own = own_experts(state);
  for (auto& [name, tensor] : own) {
    const auto* shard = shards_->find(name.substr(0, name.rfind('.')));
    // What does not fit is the optimiser's to refuse.
    if (shard != nullptr && tensor.dim() > 0 && tensor.sizes() == shard->whole.sizes())
      tensor = shard->part_of(tensor);
  }
  optimizer_->load_state_dict(own);
}

TensorMap Trainer::own_experts(TensorMap state) const {
  if (!shares_experts()) return state;
  const auto owned = model_->moe_layers().front().second->owned();
  for (const auto& parameter : optimizer_->parameters()) {
    if (parameter.kind != ParameterKind::kExpert) continue;
    for (auto entry = state.lower_bound(parameter.name);
         entry != state.end() && entry->first.starts_with(parameter.name); ++entry) {
      auto& tensor = entry->second;
      const bool own = entry->first.size() == parameter.name.size() ||
                       entry->first[parameter.name.size()] == '.';
      if (own && tensor.dim() > 0 && tensor.size(0) == options_.moe.moe_expert_count)
        tensor = tensor.slice(0, owned.begin, owned.end);
    }
  }
  return state;
}

}  // namespace evomoe
