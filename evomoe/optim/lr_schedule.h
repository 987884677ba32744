#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace evomoe {

class OptionTable;

/// Flags of fairseq's learning-rate schedulers, with its defaults, and of `wsd`. A field is the
/// option of the same name.
struct LrScheduleOptions {
  /// polynomial_decay | inverse_sqrt | cosine | fixed | tri_stage; wsd is not of fairseq
  std::string lr_scheduler = "fixed";
  /// One value; `fixed` and `polynomial_decay` also take a list, by epoch (the last one is
  /// for all later epochs). As in fairseq, polynomial_decay never uses the first of several values.
  std::vector<double> lr = {0.25};
  /// 0: none. inverse_sqrt needs at least 1. Not given: effective_warmup_updates().
  std::optional<int64_t> warmup_updates;
  /// First learning rate of the warm-up of inverse_sqrt (below 0: 0) and cosine (below 0: min_lr).
  double warmup_init_lr = -1;
  /// Update at which polynomial_decay and wsd reach end_learning_rate; not given: max_update.
  std::optional<int64_t> total_num_update;
  double end_learning_rate = 0.0;
  double power = 1.0;
  /// fixed: factor per epoch from force_anneal on; cosine: factor per period.
  double lr_shrink = 0.1;
  /// Epoch from which `fixed` shrinks the learning rate; no other schedule has it.
  std::optional<int64_t> force_anneal;
  double min_lr = 0.0;
  /// Length of the first cosine period; -1 or 0: max_update - warmup_updates.
  int64_t lr_period_updates = -1;
  /// Growth of the cosine period from one to the next.
  double t_mult = 1.0;
  /// Length of the run; 0: no end. Whoever ends the run describes it.
  int64_t max_update = 0;
  /// tri_stage: updates of the warm-up, at the full rate, and of the decay.
  int64_t warmup_steps = 0, hold_steps = 0, decay_steps = 0;
  /// tri_stage: these three as shares of max_update, which add up to 1.
  std::optional<std::vector<double>> phase_ratio;
  /// tri_stage: the first and the last learning rate, as factors of `lr`.
  double init_lr_scale = 0.01, final_lr_scale = 0.01;
  double wsd_decay_share = 0.2;      ///< of the updates of a run, the last of which decay
  std::string wsd_decay = "linear";  ///< linear | 1-sqrt | cosine

  void describe(OptionTable& table);
  /// warmup_updates, or what the scheduler does when it is not given: 4000 for inverse_sqrt. Of
  /// tri_stage its first part.
  int64_t effective_warmup_updates() const;
  /// The update at which the rate of polynomial_decay, tri_stage or wsd has come down.
  int64_t decay_end() const;
  /// Throws UsageError naming the option, its value and what is allowed.
  void validate() const;
};

/// Learning rate of the update that follows `completed_updates`, in `epoch` (from 1). A pure
/// function, so that a resumed run goes on exactly; the options must be valid.
double lr_at(const LrScheduleOptions& options, int64_t completed_updates, int64_t epoch);

}  // namespace evomoe
