#include "evomoe/train/optimization_options.h"

#include <algorithm>

#include "evomoe/base/error.h"
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
  table
      .add("budget", &budget,
           "What the run may take, in place of max-update: tokens=N, flops=N (executed "
           "floating-point "
           "operations) or seconds=N. It ends with the update that comes to this, and so does the "
           "decay of the learning rate (docs/comparing.md).")
      .metavar("UNIT=N");
  table.add("stop-min-lr", &stop_min_lr,
            "The run ends at the end of an epoch if the rate is at most this and the warm-up is "
            "over.");
  table
      .add("on-non-finite", &on_non_finite,
           "If a loss or gradient is NaN or Inf: stop the run, or skip the update.")
      .choices({"stop", "skip"});
}

void OptimizationOptions::validate() const {
  if (budget) {
    const auto refuse = [&](bool given, const char* option) {
      if (given) {
        fail_usage("--budget {} and {} both say how long the run is; leave one of them out",
                   *budget, option);
      }
    };
    refuse(max_update > 0, "--max-update");
    refuse((lr_scheduler == "polynomial_decay" || lr_scheduler == "wsd") && total_num_update,
           "--total-num-update");
    refuse(lr_scheduler == "tri_stage" && !phase_ratio && decay_steps > 0, "--decay-steps");
    refuse(lr_scheduler == "cosine" && lr_period_updates > 0, "--lr-period-updates");
  }
  schedule(/*completed=*/0, /*spent=*/{}).validate();
}

LrScheduleOptions OptimizationOptions::schedule(int64_t completed, const Spent& spent) const {
  LrScheduleOptions schedule = *this;
  if (budget) {
    schedule.max_update =
        std::max(Budget(*budget).length(completed, spent), schedule.effective_warmup_updates() + 1);
  }
  return schedule;
}

}  // namespace evomoe
