#include "evomoe/train/optimization_options.h"

#include "evomoe/config/option_table.h"

namespace evomoe {

void OptimizationOptions::describe(OptionTable& table) {
  LrScheduleOptions::describe(table);
  table
      .add("update-freq", &update_freq,
           "Micro-batches of one update, one number per epoch; the last one stays.")
      .at_least(1);
  table.add("clip-norm", &clip_norm, "Largest norm of the gradient; 0: no limit.").at_least(0);
  table.add("max-update", &max_update, "Updates of the run; 0: no limit.").at_least(0);
  table.add("max-epoch", &max_epoch, "Epochs of the run; 0: no limit.").at_least(0);
  table
      .add("stop-time-hours", &stop_time_hours,
           "Hours after which the run ends, earlier parts included; 0: no limit.")
      .at_least(0);
  table.add("stop-min-lr", &stop_min_lr,
            "The run ends at the end of an epoch if the rate is at most this and the warm-up is "
            "over.");
  table
      .add("on-non-finite", &on_non_finite,
           "If a loss or gradient is NaN or Inf: stop the run, or skip the update.")
      .choices({"stop", "skip"});
}

}  // namespace evomoe
