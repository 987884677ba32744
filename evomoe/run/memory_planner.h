#pragma once

#include <cstdint>
#include <optional>

#include "evomoe/data/task_data.h"
#include "evomoe/report/run_log.h"
#include "evomoe/run/memory_plan.h"
#include "evomoe/train/options.h"
#include "evomoe/train/trainer.h"

namespace evomoe {

/// What a run's memory goes to: the plan before it, the measure after it.
class MemoryPlanner {
 public:
  /// To be made before the model, by all ranks with the same options. Decides what is recomputed (--memory-budget, of each rank),
  /// limits the memory of blocks and logs both. UsageError when the budget is too small, or the
  /// device is no CPU.
  MemoryPlanner(const TrainOptions& options, TaskData& data, torch::Device device,
                const RankGroups& ranks);

  /// The options with that decision.
  TrainOptions decided(TrainOptions options) const;
  /// Writes the plan, if there is one, into the log of a run with `updates` updates.
  void write_plan(const TrainOptions& options, int64_t updates, RunLog& log) const;
  /// Tells what the run took at its peak; `log_file` may be null. Of the CPU's memory only.
  void report_peak(const Trainer& trainer, RunLog* log_file) const;

 private:
  Recomputation recompute_;
  std::optional<MemoryEstimate> estimate_;  ///< with --memory-budget
  int64_t program_ = 0;                     ///< bytes resident before the model is made
};

}  // namespace evomoe
