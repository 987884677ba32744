#include "evomoe/run/memory_planner.h"

#include <algorithm>
#include <vector>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/run/checkpoint_policy.h"
#include "evomoe/runtime/memory_limit.h"
#include "evomoe/runtime/resident_memory.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/optimizer_settings.h"
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

int64_t bytes_of(const TensorMap& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

int64_t gradient_bytes(const Trainer& trainer) {
  int64_t bytes = 0;
  for (const auto& parameter : trainer.parameters()) {
    const auto& gradient = parameter.tensor.grad();
    if (gradient.defined()) bytes += static_cast<int64_t>(gradient.nbytes());
  }
  return bytes;
}

void refuse_device(const ResourceOptions& flags, torch::Device device) {
  if (const auto& text = flags.memory_budget) {
    fail_usage("--memory-budget {} on {}: it plans the memory of a run on the CPU (--device cpu)",
               *text, device.str());
  }
  if (flags.offload_moments) {
    fail_usage(
        "--offload-moments {} on {}: moments are kept on disk for a run on the CPU only "
        "(--device cpu)",
        *flags.offload_moments, device.str());
  }
}

int64_t budget_of(const TrainOptions& options) {
  return parse_byte_size(*options.resources.memory_budget, "--memory-budget");
}

TrainOptions with(TrainOptions options, Recomputation recompute) {
  options.moe.recompute_experts = recompute.experts;
  options.model.checkpoint_activations = recompute.blocks;
  return options;
}

/// What each choice takes. `program`: bytes that the process has before the model.
std::vector<MemoryChoice> memory_choices(const TrainOptions& options, Recomputation asked,
                                         TaskData& data, const RankGroups& ranks, int64_t program) {
  const auto batch = largest_batch(options, *data.train(1, options.dataset.train_subset));
  const auto& flags = options.checkpoint;
  std::vector<MemoryChoice> choices;
  for (const auto& recompute : recomputations(asked, has_experts(options))) {
    const auto decided = with(options, recompute);
    const auto whole =
        family_of(decided).memory(decided, vocabulary_of(data), batch, state_bytes_of(decided));
    const auto stage = zero_stage(options.distributed);
    auto estimate =
        share_of_rank(whole, {.ranks = ranks.all->size(),
                              .expert_ranks = ranks.experts->size(),
                              .zero_stage = stage,
                              .keep_whole = options.distributed.no_reshard_after_forward});
    estimate.program = program + kLibraries;
    if (saves_in_background(options) && !flags.no_save) {
      // Between updates of stage 3 a rank has its part alone.
      const auto parameters =
          stage == 3 ? whole.parameters / ranks.all->size() : estimate.parameters;
      estimate.snapshot = parameters + (flags.no_save_optimizer_state ? 0 : estimate.moments);
    }
    choices.push_back({recompute, estimate});
  }
  return choices;
}

}  // namespace

MemoryPlanner::MemoryPlanner(const TrainOptions& options, TaskData& data, torch::Device device,
                             const RankGroups& ranks)
    : recompute_{options.moe.recompute_experts, options.model.checkpoint_activations} {
  if (device.is_cuda()) {
    refuse_device(options.resources, device);
    return;
  }
  program_ = resident_memory();
  if (!options.resources.memory_budget) return;
  const auto budget = budget_of(options);
  // All ranks must recompute the same, and refuse the same.
  const auto program_P = ranks.all->all_gather(static_cast<double>(program_));
  const auto program = static_cast<int64_t>(*std::ranges::max_element(program_P));
  const auto choices = memory_choices(options, recompute_, data, ranks, program);
  const auto& chosen = choose_memory(choices, budget);
  recompute_ = chosen.recompute;
  estimate_ = chosen.estimate;
  limit_block_memory(budget - chosen.estimate.program - kSmallTensors);
  log().info("{}", choice_text(choices, chosen, budget));
  log().info("memory, estimated: {}", memory_text(chosen.estimate));
}

TrainOptions MemoryPlanner::decided(TrainOptions options) const {
  return with(std::move(options), recompute_);
}

void MemoryPlanner::write_plan(const TrainOptions& options, int64_t updates, RunLog& log) const {
  if (!estimate_) return;
  log.append("memory_plan", updates,
             {{"budget", budget_of(options)},
              {"recompute_experts", recompute_.experts},
              {"checkpoint_activations", recompute_.blocks},
              {"estimate", memory_json(*estimate_)}});
}

void MemoryPlanner::report_peak(const Trainer& trainer, RunLog* log_file) const {
  if (trainer.device().is_cuda()) return;
  const auto peak = peak_resident_memory();
  const auto parameters = bytes_of(trainer.model_state());
  const auto moments = trainer.resident_optimizer_bytes();
  const auto gradients = gradient_bytes(trainer);
  const auto rest = peak - program_ - parameters - gradients - moments;
  log().info(
      "memory, at its peak: {}{} (program {}, parameters {}, gradients {}, moments {}, activations "
      "and workspace {})",
      byte_size_text(peak),
      estimate_ ? fmt::format(" of {} estimated", byte_size_text(estimate_->total())) : "",
      byte_size_text(program_), byte_size_text(parameters), byte_size_text(gradients),
      byte_size_text(moments), byte_size_text(rest));
  if (!estimate_ || log_file == nullptr) return;
  log_file->append("memory_peak", trainer.updates(),
                   {{"program", program_},
                    {"parameters", parameters},
                    {"gradients", gradients},
                    {"moments", moments},
                    {"activations_and_workspace", rest},
                    {"total", peak}});
}

}  // namespace evomoe
