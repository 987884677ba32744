#include "evomoe/train/trainer.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/models/parameter_kinds.h"
#include "evomoe/optim/gradient_norm.h"
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

/// The names of an optimiser's state: "<parameter>.step" and "<parameter>.<slot>".
bool is_step_count(const std::string& name) { return name.ends_with(".step"); }
std::string parameter_of_state(const std::string& name) { return name.substr(0, name.rfind('.')); }

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
                 int64_t completed_updates, bool shared_expert, RankGroups ranks)
    : options_(options),
      device_(device),
      lr_schedule_(options.optimization),
      criterion_(options.criterion, vocabulary.padding, options.task.classification_head_name),
      ranks_(std::move(ranks)),
      updates_(completed_updates) {
  validate(options_.evolution);
  lr_schedule_.validate();
  check_zero_stage(options, ranks_.all->size());
  model_ = make_model(options, vocabulary, shared_expert);
  model_->to(device_);
  shards_ = std::make_unique<ParameterShards>(
      *model_, named_parameters(*model_), ranks_, holds_shared_expert(),
      ZeroSettings{.stage = zero_stage(options.distributed),
                   .keep_whole = options.distributed.no_reshard_after_forward});
  optimizer_ = std::make_unique<Optimizer>(shards_->own(), options.optimizer.make_rule(),
                                           optimizer_settings(options));
  gradients_ = std::make_unique<GradientSync>(*shards_, ranks_);
}

UpdateResult Trainer::update(const std::vector<Batch>& micro_batches, int64_t epoch) {
  UpdateResult result;
  result.lr = next_lr(epoch);
  begin_update(result);
  {
    RECORD_USER_SCOPE("zero gradients");
    gradients_->forget();
  }
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
    if (!moe->in_shared_expert_stage()) moe->router()->end_update(result.routers[i].second);
  }
  ++updates_;
  return result;
}

void Trainer::begin_update(UpdateResult& result) {
  result.stage = next_stage();
  // An update that is skipped right at the spawn comes here again with its experts.
  if (result.stage.spawn && holds_shared_expert()) {
    before_change_();
    spawn_experts();
    result.spawned = true;
  }
}

bool Trainer::holds_shared_expert() const {
  const auto layers = model_->moe_layers();
  return !layers.empty() && layers.front().second->in_shared_expert_stage();
}

void Trainer::spawn_experts() {
  const auto& diversify = options_.evolution.diversify;
  const auto experts = options_.moe.moe_expert_count;
  shards_->make_whole(/*with_values=*/true);
  for (auto& [layer, moe] : model_->moe_layers()) {
    moe->spawn(experts, diversify, static_cast<uint64_t>(options_.common.seed));
  }
  for (const auto& parameter : named_parameters(*model_)) {
    if (parameter.kind != ParameterKind::kExpert) continue;
    const auto before = shards_->of(parameter.name);
    shards_->replace(parameter.name, parameter.tensor);
    const auto& after = shards_->of(parameter.name);
    optimizer_->replace(parameter.name, after.own, [&](torch::Tensor moment, int power) {
      return after.part_of(
          diversify_moment(before.gathered(moment), power, experts, diversify.moments));
    });
  }
  gradients_->watch_parameters();
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
  const torch::AutoGradMode with_gradients(!batch.stands_in);
  shards_->begin_forward();
  auto output = model_->forward(device_batch.input, context);
  auto [loss, sums] = criterion_(*model_, output, device_batch, context);
  gradients_->begin_backward(last);
  if (batch.stands_in) {
    forget(sums);
    for (auto& [layer, stats] : output.stats) forget(stats);
  } else if (!std::isfinite(sums.loss)) {
    if (options_.optimization.on_non_finite == "stop")
      explain_non_finite(batch, fmt::format("the loss is {}", sums.loss));
  } else {
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
  const auto& parameters = optimizer_->parameters();
  std::vector<double> ranks_with_one;
  for (const auto& parameter : parameters) {
    ranks_with_one.push_back(find_non_finite({parameter}) ? 1 : 0);
  }
  ranks_.all->all_reduce_sum(ranks_with_one);
  const auto found = std::ranges::find_if(ranks_with_one, [](double count) { return count > 0; });
  if (found == ranks_with_one.end()) return std::nullopt;
  return parameters[static_cast<size_t>(found - ranks_with_one.begin())].name;
}

void Trainer::check_parameters() const {
  if (const auto name = non_finite_parameter()) {
    diverged(
        "after update {} the parameter {} is not finite; lower --lr or --clip-norm. No checkpoint "
        "was written of it: the last one is as it was",
        updates_, *name);
  }
}

void Trainer::explain_non_finite(const Batch& batch, const std::string& found) {
  std::string where;
  if (const auto name = non_finite_parameter()) where = "the parameter " + *name + " is not finite";
  if (shards_->is_divided()) {
    if (where.empty()) where = "--zero-stage 2 or less tells in which layer";
  } else if (where.empty()) {
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

TensorMap Trainer::model_state() const {
  TensorMap state;
  for (const auto& [name, tensor] : named_state(*model_)) state[name] = tensor.detach();
  if (shards_->is_divided()) {
    for (const auto& shard : shards_->all()) state[shard.name] = shard.own.detach();
  }
  return state;
}

std::map<std::string, TensorPiece> Trainer::pieces() const {
  std::map<std::string, TensorPiece> pieces;
  const auto add = [&](const std::string& name, const std::string& of_parameter) {
    const auto& shard = shards_->of(of_parameter);
    if (shard.divided) pieces[name] = {shard.whole.sizes().vec(), shard.begin, shard.end};
  };
  if (shards_->is_divided()) {
    for (const auto& shard : shards_->all()) add(shard.name, shard.name);
  }
  for (const auto& [name, tensor] : optimizer_state()) {
    if (!is_step_count(name)) add(name, parameter_of_state(name));
  }
  return pieces;
}

TensorMap Trainer::optimizer_state() const { return optimizer_->state_dict(); }

void Trainer::load_model_state(const TensorMap& state, const std::string& what,
                               const std::string& remedy) {
  shards_->make_whole(/*with_values=*/false);
  load_into(named_state(*model_), state, what, remedy);
}

void Trainer::load_optimizer_state(const TensorMap& state) {
  TensorMap own = state;
  for (auto& [name, tensor] : own) {
    const auto* shard = is_step_count(name) ? nullptr : shards_->find(parameter_of_state(name));
    // What does not fit is the optimiser's to refuse.
    if (shard != nullptr && tensor.sizes() == shard->whole.sizes()) tensor = shard->part_of(tensor);
  }
  optimizer_->load_state_dict(own);
}

}  // namespace evomoe
