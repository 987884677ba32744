#include "evomoe/train/task_checks.h"

#include "evomoe/base/error.h"

namespace evomoe {

void require_positions(const TrainOptions& options, const std::optional<int64_t>& positions,
                       const std::string& option) {
  const auto tokens = options.task.tokens_per_sample;
  if (!positions || tokens <= *positions) return;
  fail_usage(
      "--tokens-per-sample {} is more than {} {}: the model has no position for the last tokens; "
      "raise the latter or lower the former",
      tokens, option, *positions);
}

void require_whole_blocks(const TrainOptions& options) {
  const auto& task = options.task;
  const auto& max_tokens = options.dataset.max_tokens;
  if (!max_tokens || task.sample_break_mode != "none" || *max_tokens >= task.tokens_per_sample)
    return;
  fail_usage(
      "--max-tokens {} is less than --tokens-per-sample {}: not even one sequence fits into a "
      "micro-batch",
      *max_tokens, task.tokens_per_sample);
}

}  // namespace evomoe
