#include "evomoe/optim/lr_schedule.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

const std::vector<std::string> kKinds = {"fixed",  "polynomial_decay", "inverse_sqrt",
                                         "cosine", "tri_stage",        "wsd"};

/// How many updates each part of tri_stage has.
struct TriStage {
  int64_t warmup, hold, decay;
};

TriStage tri_stage(const LrScheduleOptions& options) {
  if (!options.phase_ratio) return {options.warmup_steps, options.hold_steps, options.decay_steps};
  const auto share = [&](size_t part) {  // rounded down, as in fairseq
    return static_cast<int64_t>(static_cast<double>(options.max_update) *
                                (*options.phase_ratio)[part]);
  };
  return {share(0), share(1), share(2)};
}

/// How many updates the decay of wsd has.
int64_t wsd_decay_updates(const LrScheduleOptions& options) {
  return std::llround(options.wsd_decay_share * static_cast<double>(options.decay_end()));
}

int64_t first_cosine_period(const LrScheduleOptions& options) {
  return options.lr_period_updates > 0 ? options.lr_period_updates
                                       : options.max_update - options.effective_warmup_updates();
}

/// Entry `index` of the --lr list, the last one for all later indices.
double listed_lr(const LrScheduleOptions& options, int64_t index) {
  const auto last = static_cast<int64_t>(options.lr.size()) - 1;
  return options.lr[static_cast<size_t>(std::clamp<int64_t>(index, 0, last))];
}

double fixed_lr(const LrScheduleOptions& options, int64_t completed, int64_t epoch) {
  const auto warmup = options.effective_warmup_updates();
  double lr = listed_lr(options, epoch - 1);
  if (options.force_anneal && epoch >= *options.force_anneal) {
    lr = options.lr.back() *
         std::pow(options.lr_shrink, static_cast<double>(epoch + 1 - *options.force_anneal));
  }
  // Unlike the other schedules the warm-up of `fixed` starts at 1/warmup, not at 0.
  if (completed < warmup)
    return static_cast<double>(completed + 1) / static_cast<double>(warmup) * lr;
  return lr;
}

double polynomial_lr(const LrScheduleOptions& options, int64_t completed, int64_t epoch) {
  // The reference indexes the list by the epoch from 1 here (`fixed` by the epoch from 0): of
  // several values the first is never used. Kept, as the same flags must give the same numbers.
  const double lr = listed_lr(options, epoch);
  const auto warmup = static_cast<double>(options.effective_warmup_updates());
  const auto n = static_cast<double>(completed);
  const auto total = static_cast<double>(options.decay_end());
  if (warmup > 0 && n <= warmup) return n / warmup * lr;
  if (n >= total) return options.end_learning_rate;
  const double remaining = 1.0 - (n - warmup) / (total - warmup);
  return (lr - options.end_learning_rate) * std::pow(remaining, options.power) +
         options.end_learning_rate;
}

double inverse_sqrt_lr(const LrScheduleOptions& options, int64_t completed) {
  const double lr = options.lr.front();
  const auto warmup = static_cast<double>(options.effective_warmup_updates());
  const auto n = static_cast<double>(completed);
  if (n < warmup) {
    const double first = std::max(0.0, options.warmup_init_lr);
    return first + n * ((lr - first) / warmup);
  }
  return lr * std::sqrt(warmup) * std::pow(n, -0.5);
}

/// Cosine annealing with warm restarts, arXiv 1608.03983.
double cosine_lr(const LrScheduleOptions& options, int64_t completed) {
  const double lr = options.lr.front();
  const auto warmup = options.effective_warmup_updates();
  if (completed < warmup) {
    const double first = options.warmup_init_lr < 0 ? options.min_lr : options.warmup_init_lr;
    return first + static_cast<double>(completed) * ((lr - first) / static_cast<double>(warmup));
  }
  // The periods are walked one by one: the reference's closed form with a logarithm can land in the
  // wrong period by rounding when an update is exactly the first one of a period.
  double at = static_cast<double>(completed - warmup);
  auto period = static_cast<double>(first_cosine_period(options));
  double shrink = 1.0;
  if (options.t_mult == 1.0) {
    const double finished = std::floor(at / period);
    at -= finished * period;
    shrink = std::pow(options.lr_shrink, finished);
  } else {
    while (at >= period) {
      at -= period;
      period *= options.t_mult;
      shrink *= options.lr_shrink;
    }
  }
  const double low = options.min_lr * shrink;
  const double high = lr * shrink;
  return low + 0.5 * (high - low) * (1.0 + std::cos(std::numbers::pi * at / period));
}

/// SpecAugment's schedule, arXiv 1904.08779, as fairseq has it: the decay is exponential.
double tri_stage_lr(const LrScheduleOptions& options, int64_t completed) {
  const auto [warmup, hold, decay] = tri_stage(options);
  const double lr = options.lr.front();
  if (completed < warmup) {
    const double first = options.init_lr_scale * lr;
    return first + (lr - first) / static_cast<double>(warmup) * static_cast<double>(completed);
  }
  const auto decayed = completed - warmup - hold;
  if (decayed < 0) return lr;
  // With --budget a run may turn out too short for its decay.
  if (decay < 1 || decayed > decay) return options.final_lr_scale * lr;
  const double rate = -std::log(options.final_lr_scale) / static_cast<double>(decay);
  return lr * std::exp(-rate * static_cast<double>(decayed));
}

/// Warm-up, stable, decay: arXiv 2404.06395; the shapes of the decay are those of arXiv 2405.18392.
double wsd_lr(const LrScheduleOptions& options, int64_t completed) {
  const double lr = options.lr.front();
  const auto warmup = options.effective_warmup_updates();
  if (completed < warmup) {
    const double first = std::max(0.0, options.warmup_init_lr);
    return first + static_cast<double>(completed) * ((lr - first) / static_cast<double>(warmup));
  }
  const auto decay = wsd_decay_updates(options),
             decayed = completed - (options.decay_end() - decay);
  if (decayed <= 0) return lr;
  if (decayed >= decay) return options.end_learning_rate;
  const double done = static_cast<double>(decayed) / static_cast<double>(decay);
  const double left = options.wsd_decay == "linear" ? 1.0 - done
                      : options.wsd_decay == "1-sqrt"
                          ? 1.0 - std::sqrt(done)
                          : 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return options.end_learning_rate + (lr - options.end_learning_rate) * left;
}

void check_number(const char* name, double value, double lowest) {
  if (!std::isfinite(value) || value < lowest) {
    fail_usage("{} is {}; it must be a finite number of at least {}", name, value, lowest);
  }
}

void check_count(const char* name, int64_t value) {
  if (value < 0) fail_usage("{} is {}; it must not be negative", name, value);
}

void validate_polynomial(const LrScheduleOptions& options) {
  // The reference starts the decay anew in each such epoch, from wherever the last one ended: no
  // function of the update.
  if (options.force_anneal) {
    fail_usage(
        "--force-anneal {} does not go with --lr-scheduler polynomial_decay; use it with fixed, or "
        "leave it out",
        *options.force_anneal);
  }
  const int64_t total = options.decay_end();
  if (total <= 0) {
    fail_usage(
        "--lr-scheduler polynomial_decay needs the update at which the decay ends: set "
        "--total-num-update or --max-update");
  }
  const auto warmup = options.effective_warmup_updates();
  if (warmup > total) {
    fail_usage("--warmup-updates {} is more than {} {}, so the decay would never begin; lower it",
               warmup, options.total_num_update ? "--total-num-update" : "--max-update", total);
  }
  if (!std::isfinite(options.power) || options.power <= 0) {
    fail_usage("--power is {}; it must be a finite number greater than 0", options.power);
  }
}

void validate_inverse_sqrt(const LrScheduleOptions& options) {
  if (options.effective_warmup_updates() < 1) {
    fail_usage(
        "--lr-scheduler inverse_sqrt needs --warmup-updates of at least 1 (usual: 4000); with {} "
        "its learning rate lr*sqrt(warmup/n) is "
        "always 0",
        options.effective_warmup_updates());
  }
}

void validate_cosine(const LrScheduleOptions& options) {
  if (options.lr_period_updates <= 0 && options.max_update == 0) {
    fail_usage(
        "--lr-scheduler cosine needs the length of its period: set --lr-period-updates or "
        "--max-update");
  }
  if (first_cosine_period(options) <= 0) {
    fail_usage(
        "--warmup-updates {} leaves no update for the cosine (--max-update {}); lower it or set "
        "--lr-period-updates",
        options.effective_warmup_updates(), options.max_update);
  }
  if (!std::isfinite(options.t_mult) || options.t_mult < 1.0) {
    fail_usage("--t-mult is {}; it must be a finite number of at least 1", options.t_mult);
  }
  if (options.min_lr >= options.lr.front()) {
    fail_usage("--min-lr {} must be less than --lr {}", options.min_lr, options.lr.front());
  }
}

void validate_tri_stage(const LrScheduleOptions& options) {
  if (options.warmup_updates) {
    fail_usage(
        "--warmup-updates {} does not go with --lr-scheduler tri_stage, whose warm-up has the "
        "updates of --warmup-steps or --phase-ratio; give one of these",
        *options.warmup_updates);
  }
  if (!(options.final_lr_scale > 0) || !std::isfinite(options.final_lr_scale)) {
    fail_usage(
        "--final-lr-scale is {}; it must be a finite number greater than 0: the rate falls "
        "to it exponentially",
        options.final_lr_scale);
  }
  if (const auto& ratio = options.phase_ratio) {
    if (ratio->size() != 3) {
      fail_usage("--phase-ratio has {} values; it takes 3: the shares of warm-up, hold and decay",
                 ratio->size());
    }
    for (const double share : *ratio) check_number("--phase-ratio", share, 0.0);
    const double sum = (*ratio)[0] + (*ratio)[1] + (*ratio)[2];
    if (std::abs(sum - 1.0) > 1e-6) {
      fail_usage("--phase-ratio {}: the three shares must add up to 1, not {}",
                 fmt::join(*ratio, ","), sum);
    }
    if (options.max_update == 0) {
      fail_usage(
          "--phase-ratio {} is of the updates of the run: set --max-update, or give "
          "--warmup-steps, --hold-steps and --decay-steps",
          fmt::join(*ratio, ","));
    }
  }
  const auto [warmup, hold, decay] = tri_stage(options);
  if (decay < 1) {
    fail_usage(
        "--lr-scheduler tri_stage needs updates to decay: set --decay-steps of at least 1, "
        "or --phase-ratio, e.g. 0.1,0.4,0.5, with a --max-update that is long enough");
  }
}

void validate_wsd(const LrScheduleOptions& options) {
  const auto total = options.decay_end(), warmup = options.effective_warmup_updates();
  if (total <= 0) {
    fail_usage(
        "--lr-scheduler wsd needs the update at which its decay ends: set --max-update or "
        "--total-num-update");
  }
  if (!(options.wsd_decay_share > 0 && options.wsd_decay_share <= 1)) {
    fail_usage("--wsd-decay-share is {}; it must be above 0 and at most 1",
               options.wsd_decay_share);
  }
  const auto decay = wsd_decay_updates(options);
  if (decay < 1 || warmup + decay > total) {
    fail_usage(
        "--wsd-decay-share {} of {} {} is {} updates of decay, with --warmup-updates {} before it; "
        "both must fit into the run, and the decay have an update at least",
        options.wsd_decay_share, options.total_num_update ? "--total-num-update" : "--max-update",
        total, decay, warmup);
  }
  if (options.wsd_decay != "linear" && options.wsd_decay != "1-sqrt" &&
      options.wsd_decay != "cosine") {
    fail_usage("--wsd-decay '{}' is not known; it may be linear, 1-sqrt or cosine",
               options.wsd_decay);
  }
  if (options.end_learning_rate > options.lr.front()) {
    fail_usage("--end-learning-rate {} is above --lr {}; wsd decays to it, so lower it",
               options.end_learning_rate, options.lr.front());
  }
}

}  // namespace

int64_t LrScheduleOptions::effective_warmup_updates() const {
  if (lr_scheduler == "tri_stage") return tri_stage(*this).warmup;
  return warmup_updates.value_or(lr_scheduler == "inverse_sqrt" ? 4000 : 0);
}

int64_t LrScheduleOptions::decay_end() const {
  if (lr_scheduler == "tri_stage") {
    const auto [warmup, hold, decay] = tri_stage(*this);
    return warmup + hold + decay;
  }
  return total_num_update.value_or(max_update);
}

void LrScheduleOptions::describe(OptionTable& table) {
  table.group("optimization", "Optimisation");
  table
      .add("lr", &lr,
           "Learning rate, one per epoch; the last one stays. The default is fairseq's and far too "
           "high for Adam.")
      .at_least(0);
  table.add("lr-scheduler", &lr_scheduler, "Learning-rate schedule.")
      .choices({"polynomial_decay", "inverse_sqrt", "cosine", "fixed", "tri_stage", "wsd"})
      .unsupported({"manual", "pass_through", "reduce_lr_on_plateau", "step", "triangular"},
                   "use polynomial_decay, inverse_sqrt, cosine, tri_stage or wsd, or fixed with an "
                   "--lr for each epoch");
  table
      .add("warmup-updates", &warmup_updates,
           "Updates of linear warm-up; not given: 4000 for inverse_sqrt, else 0. tri_stage has "
           "--warmup-steps.")
      .at_least(0);
  table.add("warmup-init-lr", &warmup_init_lr,
            "Learning rate at the start of warm-up; below 0: the scheduler's own.");
  table
      .add("total-num-update", &total_num_update,
           "polynomial_decay, wsd: update at which the decay ends; not given: max-update.")
      .at_least(1);
  table
      .add("end-learning-rate", &end_learning_rate,
           "polynomial_decay, wsd: learning rate at the end.")
      .at_least(0);
  table.add("power", &power, "polynomial_decay: exponent.").above(0);
  table
      .add("lr-shrink", &lr_shrink,
           "fixed: factor per epoch from force-anneal on; cosine: factor per period.")
      .above(0);
  table
      .add("force-anneal", &force_anneal,
           "fixed: epoch from which the rate shrinks by lr-shrink. Other schedules ignore it; "
           "the reference's polynomial_decay would restart its decay in each such epoch.")
      .alias("fa")
      .at_least(1);
  table.add("min-lr", &min_lr, "cosine: lowest rate.").at_least(0);
  table
      .add("lr-period-updates", &lr_period_updates,
           "cosine: updates of the first period; -1 or 0: all after the warm-up.")
      .at_least(-1);
  table
      .add("t-mult", &t_mult,
           "cosine: each period is longer than the one before by this "
           "factor.")
      .at_least(1);
  const std::vector<std::string> of_tri_stage = {"tri_stage"}, of_wsd = {"wsd"};
  table.add("warmup-steps", &warmup_steps, "Updates of linear warm-up.")
      .at_least(0)
      .only_with("lr-scheduler", of_tri_stage);
  table.add("hold-steps", &hold_steps, "Updates at the full learning rate after the warm-up.")
      .at_least(0)
      .only_with("lr-scheduler", of_tri_stage);
  table.add("decay-steps", &decay_steps, "Updates of exponential decay after that.")
      .at_least(0)
      .only_with("lr-scheduler", of_tri_stage);
  table
      .add("phase-ratio", &phase_ratio,
           "Warm-up, hold and decay as shares of max-update, which add up to 1, instead of their "
           "updates: (0.1, 0.4, 0.5).")
      .count(3)
      .at_least(0)
      .only_with("lr-scheduler", of_tri_stage);
  table.add("init-lr-scale", &init_lr_scale, "The warm-up begins at this times --lr.")
      .at_least(0)
      .only_with("lr-scheduler", of_tri_stage);
  table.add("final-lr-scale", &final_lr_scale, "The decay ends at this times --lr, and it stays.")
      .above(0)
      .only_with("lr-scheduler", of_tri_stage);
  table
      .add("wsd-decay-share", &wsd_decay_share,
           "Share of the run's updates, its last ones, in which the learning rate decays.")
      .above(0)
      .at_most(1)
      .only_with("lr-scheduler", of_wsd);
  table
      .add("wsd-decay", &wsd_decay,
           "Shape of the decay, of the share x of it that is done: 1 - x, 1 - sqrt(x), or half a "
           "cosine.")
      .choices({"linear", "1-sqrt", "cosine"})
      .only_with("lr-scheduler", of_wsd);
}

void LrScheduleOptions::validate() const {
  if (std::find(kKinds.begin(), kKinds.end(), lr_scheduler) == kKinds.end()) {
    const auto nearest = nearest_name(lr_scheduler, kKinds);
    fail_usage("--lr-scheduler '{}' is unknown{} Known: {}", lr_scheduler,
               nearest.empty() ? "." : fmt::format("; did you mean '{}'?", nearest),
               fmt::join(kKinds, ", "));
  }
  if (lr.empty()) fail_usage("--lr is empty; give a learning rate, e.g. --lr 0.0005");
  for (const double value : lr) check_number("--lr", value, 0.0);
  check_count("--warmup-updates", warmup_updates.value_or(0));
  check_count("--warmup-steps", warmup_steps);
  check_count("--hold-steps", hold_steps);
  check_count("--decay-steps", decay_steps);
  check_number("--init-lr-scale", init_lr_scale, 0.0);
  check_count("--total-num-update", total_num_update.value_or(0));
  check_count("--max-update", max_update);
  if (lr_period_updates < -1)
    fail_usage("--lr-period-updates is {}; it must be at least -1", lr_period_updates);
  check_number("--end-learning-rate", end_learning_rate, 0.0);
  check_number("--lr-shrink", lr_shrink, 0.0);
  check_number("--min-lr", min_lr, 0.0);
  if (!std::isfinite(warmup_init_lr))
    fail_usage("--warmup-init-lr is {}; it must be finite", warmup_init_lr);
  if (force_anneal && *force_anneal < 1) {
    fail_usage("--force-anneal is {}; it is an epoch, counted from 1", *force_anneal);
  }
  const bool takes_list = lr_scheduler == "fixed" || lr_scheduler == "polynomial_decay";
  if (lr.size() > 1 && !takes_list) {
    fail_usage(
        "--lr has {} values, but --lr-scheduler {} takes one; only fixed and polynomial_decay take "
        "one per epoch",
        lr.size(), lr_scheduler);
  }
  if (lr_scheduler == "polynomial_decay") validate_polynomial(*this);
  if (lr_scheduler == "inverse_sqrt") validate_inverse_sqrt(*this);
  if (lr_scheduler == "cosine") validate_cosine(*this);
  if (lr_scheduler == "tri_stage") validate_tri_stage(*this);
  if (lr_scheduler == "wsd") validate_wsd(*this);
}

double lr_at(const LrScheduleOptions& options, int64_t completed_updates, int64_t epoch) {
  if (options.lr_scheduler == "polynomial_decay")
    return polynomial_lr(options, completed_updates, epoch);
  if (options.lr_scheduler == "inverse_sqrt") return inverse_sqrt_lr(options, completed_updates);
  if (options.lr_scheduler == "cosine") return cosine_lr(options, completed_updates);
  if (options.lr_scheduler == "tri_stage") return tri_stage_lr(options, completed_updates);
  if (options.lr_scheduler == "wsd") return wsd_lr(options, completed_updates);
  EVOMOE_CHECK(options.lr_scheduler == "fixed",
               "learning-rate schedule '{}' is unknown; call validate() first",
               options.lr_scheduler);
  return fixed_lr(options, completed_updates, epoch);
}

}  // namespace evomoe
