#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/optim/lr_schedule.h"
#include "evomoe/train/budget.h"

namespace evomoe {

/// The learning rate, the size of an update, and when a run ends.
struct OptimizationOptions : LrScheduleOptions {
  std::vector<int64_t> update_freq = {1};  ///< by epoch; the last one stays
  double clip_norm = 0.0;                  ///< 0: no clipping
  int64_t max_epoch = 0;                   ///< 0: no limit
  double stop_time_hours = 0.0;            ///< 0: no limit
  std::optional<std::string> budget;       ///< as Budget reads it; not given: no limit
  double stop_min_lr = -1.0;
  std::string on_non_finite = "stop";  ///< stop | skip

  void describe(OptionTable& table);
  /// As LrScheduleOptions, and what does not go with --budget.
  void validate() const;
  /// The schedule of the learning rate as it stands after `completed` updates: with --budget its
  /// max_update, never below the warm-up's end, is Budget::length().
  LrScheduleOptions schedule(int64_t completed, const Spent& spent) const;
};

}  // namespace evomoe
