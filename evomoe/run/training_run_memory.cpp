// What a run's memory goes to: the plan before it, the measure after it.
#include <algorithm>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/run/training_run.h"
#include "evomoe/runtime/memory_limit.h"
#include "evomoe/runtime/resident_memory.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

/// What LibTorch and the matrix library map when they begin to compute: code, threads, buffers.
constexpr int64_t kLibraries = int64_t{56} << 20;
/// What free memory of small tensors, which is kept as well, may add to that.
constexpr int64_t kSmallTensors = int64_t{32} << 20;

LargestBatch largest_batch(const TrainOptions& options, const Dataset& data) {
  int64_t longest = options.task.pad_to_fixed_length ? options.task.tokens_per_sample : 1;
  const auto positions = longest_item(options);
  const auto& limits = options.dataset;
  for (int64_t i = 0; i < data.size(); ++i) {
    const auto size = data.item_size(i);
    const bool taken = data.fits(i, positions) && size <= limits.max_tokens.value_or(size);
    if (taken) longest = std::max(longest, size);
  }
  const auto columns = longest + (options.task.add_bos_token ? 1 : 0);
  // --max-tokens counts items without the added <s>.
  auto rows = limits.batch_size.value_or(data.size());
  if (limits.max_tokens) rows = std::min(rows, std::max<int64_t>(*limits.max_tokens / longest, 1));
  LargestBatch batch;
  batch.columns = columns;
  batch.tokens = rows * columns;
  // Short sequences may fill --max-tokens better than long ones.
  if (limits.max_tokens && !limits.batch_size) {
    batch.tokens = std::max(batch.tokens, *limits.max_tokens);
  }
  batch.moe_tokens = std::max(batch.tokens, limits.batch_size.value_or(0) * columns);
  batch.predicted = find_task(options.task.task).most_predicted(options.task, batch.tokens, rows);
  batch.segments = options.task.pack_examples;
  return batch;
}

/// What the optimiser keeps of a parameter.
StateBytes state_bytes_of(const TrainOptions& options) {
  const std::shared_ptr<const UpdateRule> rule = options.optimizer.make_rule();
  const bool offloads = options.resources.offload_moments.has_value();
  return [=](ParameterKind kind, const std::vector<int64_t>& sizes) {
    return state_bytes(*rule, kind, sizes, offloads);
  };
}

int64_t bytes_of(const TensorMap& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

}  // namespace

void TrainingRun::plan_memory() {
  recompute_ = {options_.moe.recompute_experts, options_.model.checkpoint_activations};
  if (device_.is_cuda()) {
    if (const auto& text = options_.resources.memory_budget) {
      fail_usage("--memory-budget {} on {}: it plans the memory of a run on the CPU (--device cpu)",
                 *text, device_.str());
    }
    if (offloads_moments()) {
      fail_usage(
          "--offload-moments {} on {}: moments are kept on disk for a run on the CPU only "
          "(--device cpu)",
          *options_.resources.offload_moments, device_.str());
    }
    return;
  }
  program_memory_ = resident_memory();
  if (!options_.resources.memory_budget) return;
  const auto budget = parse_byte_size(*options_.resources.memory_budget, "--memory-budget");
  const auto batch = largest_batch(options_, *data_->train(1, options_.dataset.train_subset));
  std::vector<MemoryChoice> choices;
  for (const auto& recompute : recomputations(recompute_, has_experts(options_))) {
    auto options = options_;
    options.moe.recompute_experts = recompute.experts;
    options.model.checkpoint_activations = recompute.blocks;
    auto estimate =
        family_of(options).memory(options, vocabulary_of(*data_), batch, state_bytes_of(options));
    estimate.program = program_memory_ + kLibraries;
    const auto& flags = options_.checkpoint;
    if (saves_in_background() && !flags.no_save) {
      estimate.snapshot =
          estimate.parameters + (flags.no_save_optimizer_state ? 0 : estimate.moments);
    }
    choices.push_back({recompute, estimate});
  }
  const auto& chosen = choose_memory(choices, budget);
  recompute_ = chosen.recompute;
  memory_estimate_ = chosen.estimate;
  limit_block_memory(budget - chosen.estimate.program - kSmallTensors);
  log().info("{}", choice_text(choices, chosen, budget));
  log().info("memory, estimated: {}", memory_text(chosen.estimate));
}

TrainOptions TrainingRun::trainer_options() const {
  auto options = options_;
  options.moe.recompute_experts = recompute_.experts;
  options.model.checkpoint_activations = recompute_.blocks;
  return options;
}

void TrainingRun::log_memory_plan() {
  if (!memory_estimate_ || !log_) return;
  nlohmann::ordered_json record = {
      {"budget", parse_byte_size(*options_.resources.memory_budget, "--memory-budget")},
      {"recompute_experts", recompute_.experts},
      {"checkpoint_activations", recompute_.blocks},
      {"estimate", memory_json(*memory_estimate_)}};
  log_->append("memory_plan", trainer_->updates(), record);
}

void TrainingRun::report_memory() {
  if (device_.is_cuda() || trainer_->updates() == first_update_) return;
  const auto peak = peak_resident_memory();
  const auto parameters = bytes_of(trainer_->model_state());
  const auto moments = trainer_->resident_optimizer_bytes();
  int64_t gradients = 0;
  for (const auto& parameter : trainer_->parameters()) {
    const auto& gradient = parameter.tensor.grad();
    if (gradient.defined()) gradients += static_cast<int64_t>(gradient.nbytes());
  }
  const auto rest = peak - program_memory_ - parameters - gradients - moments;
  log().info(
      "memory, at its peak: {}{} (program {}, parameters {}, gradients {}, moments {}, activations "
      "and workspace {})",
      byte_size_text(peak),
      memory_estimate_ ? fmt::format(" of {} estimated", byte_size_text(memory_estimate_->total()))
                       : "",
      byte_size_text(program_memory_), byte_size_text(parameters), byte_size_text(gradients),
      byte_size_text(moments), byte_size_text(rest));
  if (!memory_estimate_ || !log_) return;
  log_->append("memory_peak", trainer_->updates(),
               {{"program", program_memory_},
                {"parameters", parameters},
                {"gradients", gradients},
                {"moments", moments},
                {"activations_and_workspace", rest},
                {"total", peak}});
}

}  // namespace evomoe
