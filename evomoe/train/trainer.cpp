#include "evomoe/train/trainer.h"

#include <ATen/record_function.h>

#include <cmath>
#include <map>
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
  model_ = make_model(options, vocabulary, shared_expert);
  for (auto& [layer, moe] : model_->moe_layers()) moe->divide_experts(ranks_.experts);
  model_->to(device_);
  optimizer_ = std::make_unique<Optimizer>(named_parameters(*model_), options.optimizer.make_rule(),
                                           optimizer_settings(options));
}

UpdateResult Trainer::update(const std::vector<Batch>& micro_batches, int64_t epoch) {
  UpdateResult result;
  result.lr = next_lr(epoch);
  begin_update(result);
  {
    RECORD_USER_SCOPE("zero gradients");
    optimizer_->zero_grad();
  }
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    forward_backward(micro_batches[i], static_cast<int64_t>(i), result);
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
  for (auto& [layer, moe] : model_->moe_layers()) {
    moe->spawn(experts, diversify, static_cast<uint64_t>(options_.common.seed));
  }
  for (const auto& parameter : named_parameters(*model_)) {
    if (parameter.kind != ParameterKind::kExpert) continue;
    optimizer_->replace(parameter.name, parameter.tensor, [&](torch::Tensor moment, int power) {
      return diversify_moment(moment, power, experts, parameter.tensor.size(0), diversify.moments);
    });
  }
}

void Trainer::forward_backward(const Batch& batch, int64_t micro_batch, UpdateResult& result) {
  const auto device_batch = to_device(batch, model_->padding_index(), device_);
  auto context = training_context(options_, batch, updates_, *ranks_.all);
  if (recorded_noise_) {
    context.gate_gumbel = [this, micro_batch](int64_t layer) {
      return recorded_noise_(micro_batch, layer);
    };
  }
  // Ranks that share experts go through each backward pass together, or not at all.
  const bool together = shares_experts();
  const torch::AutoGradMode with_gradients(together || !batch.stands_in);
  auto output = model_->forward(device_batch.input, context);
  auto [loss, sums] = criterion_(*model_, output, device_batch, context);
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
  result.sums += sums;
  add_stats(result.routers, output);
  if (!batch.stands_in) result.flops += model_->training_flops(device_batch.input, output);
}

void Trainer::sum_over_all_ranks(UpdateResult& result) {
  sum_over_ranks(result.sums, *ranks_.all);
  sum_over_ranks(result.routers, *ranks_.all);
  ranks_.all->all_reduce_sum(std::span(&result.flops, 1));
  sum_gradients();
}

bool Trainer::shares_experts() const {
  return ranks_.experts->size() > 1 && !model_->moe_layers().empty() && !holds_shared_expert();
}

Communicator& Trainer::holders_of(ParameterKind kind) const {
  return kind == ParameterKind::kExpert && shares_experts() ? *ranks_.replicas : *ranks_.all;
}

void Trainer::sum_gradients() {
  const auto& parameters = optimizer_->parameters();
  // A rank whose batch stands in has no gradient at all; of some parameters no rank has one.
  std::vector<double> ranks_with_one;
  for (const auto& parameter : parameters)
    ranks_with_one.push_back(parameter.tensor.grad().defined() ? 1 : 0);
  ranks_.all->all_reduce_sum(ranks_with_one);
  std::map<Communicator*, std::vector<torch::Tensor>> gradients;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (ranks_with_one[i] == 0) continue;
    auto& gradient = parameters[i].tensor.mutable_grad();
    if (!gradient.defined()) gradient = torch::zeros_like(parameters[i].tensor);
    gradients[&holders_of(parameters[i].kind)].push_back(gradient);
  }
  for (auto* ranks : {ranks_.all.get(), ranks_.replicas.get()}) {
    if (gradients.contains(ranks)) ranks->all_reduce_sum(gradients.at(ranks));
  }
}

void Trainer::measure_gradients(UpdateResult& result) {
  RECORD_USER_SCOPE("gradient norm");
  std::vector<NamedParameter> everywhere, of_experts;
  for (const auto& parameter : optimizer_->parameters()) {
    const bool divided = parameter.kind == ParameterKind::kExpert && shares_experts();
    (divided ? of_experts : everywhere).push_back(parameter);
  }
  double norm = gradient_norm(everywhere);
  if (!of_experts.empty()) {
    double square = std::pow(gradient_norm(of_experts), 2);
    ranks_.experts->all_reduce_sum(square);
    norm = std::sqrt(norm * norm + square);
  }
  result.gradient_norm = norm / result.sums.divisor();
  result.clip_coefficient = clip_coefficient(result.gradient_norm, options_.optimization.clip_norm);
}

bool Trainer::gradients_are_usable(const UpdateResult& result) {
  if (std::isfinite(result.sums.loss) && std::isfinite(result.gradient_norm)) {
    skipped_ = 0;
    return true;
  }
  const auto parameter = find_non_finite(optimizer_->parameters());
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

std::optional<std::string> Trainer::broken_parameter() const {
  const auto name = non_finite_parameter();
  double broken = name ? 1 : 0;
  if (shares_experts()) ranks_.all->all_reduce_sum(broken);
  return name || broken == 0 ? name : "of an expert on another rank";
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
  if (const auto name = broken_parameter()) where = "the parameter " + *name + " is not finite";
  if (where.empty()) {
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
  return state;
}

TensorMap Trainer::optimizer_state() const { return optimizer_->state_dict(); }

TensorPieces Trainer::pieces() const {
  TensorPieces pieces;
  if (!shares_experts() || ranks_.replicas->rank() > 0) return pieces;
  const auto owned = model_->moe_layers().front().second->owned();
  const auto add = [&](const std::string& name, const torch::Tensor& tensor) {
    if (tensor.dim() == 0) return;  // a count of steps
    auto shape = tensor.sizes().vec();
    const auto of_one = tensor.numel() / owned.size();
    shape[0] = options_.moe.moe_expert_count;
    pieces[name] = {std::move(shape), owned.begin * of_one, owned.end * of_one};
  };
  const auto state = optimizer_->state_dict();
  for (const auto& parameter : optimizer_->parameters()) {
    if (parameter.kind != ParameterKind::kExpert) continue;
    add(parameter.name, parameter.tensor);
    const auto prefix = parameter.name + ".";
    for (auto slot = state.lower_bound(prefix);
         slot != state.end() && slot->first.starts_with(prefix); ++slot)
      add(slot->first, slot->second);
  }
  return pieces;
}

void Trainer::load_model_state(const TensorMap& state, const std::string& what,
                               const std::string& remedy) {
  load_into(named_state(*model_), own_part(state), what, remedy);
}

void Trainer::load_optimizer_state(const TensorMap& state) {
  optimizer_->load_state_dict(own_part(state));
}

TensorMap Trainer::own_part(TensorMap state) const {
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
