#include "evomoe/run/schedule_check.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "evomoe/train/model_options.h"

namespace evomoe {
namespace {

/// Collects sentences about a run that ends after `updates` updates.
class Check {
 public:
  Check(const TrainOptions& options, int64_t updates)
      : options_(options), optimization_(options.optimization), updates_(updates) {}

  std::vector<std::string> found() && {
    if (has_experts(options_)) evolution();
    warm_up();
    const auto& schedule = optimization_.lr_scheduler;
    // With --budget the decay ends with that, and is reckoned anew.
    if (!optimization_.budget && (schedule == "polynomial_decay" || schedule == "wsd"))
      decay_to_end();
    if (schedule == "cosine") cosine();
    if (schedule == "tri_stage") tri_stage();
    annealing();
    return std::move(found_);
  }

 private:
  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    found_.push_back(fmt::format("the run ends after {}: {}", end(),
                                 fmt::format(format, std::forward<Args>(args)...)));
  }

  /// What ends it, as the user said it.
  std::string end() const {
    return updates_ == optimization_.max_update ? fmt::format("--max-update {}", updates_)
                                                : fmt::format("--max-epoch {}, which is {} updates",
                                                              optimization_.max_epoch, updates_);
  }

  void evolution() {
    const auto& flags = options_.evolution;
    const auto spawn = flags.shared_expert_updates;
    if (spawn > 0 && updates_ <= spawn) {
      say("the experts would be spawned after --shared-expert-updates {}, so it trains one shared "
          "expert alone; make the run longer or the stage shorter",
          spawn);
      return;
    }
    const auto grown =
        std::accumulate(flags.growth_updates.begin(), flags.growth_updates.end(), spawn);
    if (!flags.growth_updates.empty() && updates_ <= grown) {
      say("each layer would have all {} experts after update {} (--growth-updates {}); make the "
          "run longer or grow earlier",
          options_.moe.moe_expert_count, grown, fmt::join(flags.growth_updates, ","));
    }
    if (spawn > 0 && updates_ < spawn + flags.lr_rewarmup_updates) {
      say("the learning rate would come back to that of the schedule at update {} "
          "(--lr-rewarmup-updates {} after --shared-expert-updates {}); make the run longer or the "
          "warm-up shorter",
          spawn + flags.lr_rewarmup_updates, flags.lr_rewarmup_updates, spawn);
    }
    if (!flags.use_gumbel_softmax || options_.moe.moe_router != "dts") return;
    const auto sparse = spawn + flags.first_hard_update();
    const std::string since =
        spawn > 0 ? fmt::format(" after --shared-expert-updates {}", spawn) : "";
    if (updates_ <= sparse) {
      say("the sparse stage (one expert per token) would begin after update {} "
          "(--switch-to-hard-gumbel-softmax {}{}), so tokens still have several experts at "
          "its end; make the run longer or switch earlier",
          sparse, flags.switch_to_hard_gumbel_softmax, since);
    } else if (flags.sparse_noise_decay > 0 && updates_ < sparse + flags.sparse_noise_decay) {
      say("the noise of the sparse stage would come down to --sparse-stage-noise {} at update {} "
          "(--sparse-noise-decay {}); make the run longer or the decay shorter",
          flags.sparse_stage_noise, sparse + flags.sparse_noise_decay, flags.sparse_noise_decay);
    }
    const auto coldest = static_cast<double>(spawn) + flags.gumbel_decay_factor;
    if (flags.gumbel_decay_scheduler != "none" && static_cast<double>(updates_) < coldest) {
      say("the temperature would come down to --min-temperature {} at update {} "
          "(--gumbel-decay-factor {}{}); make the run longer or the decay shorter",
          flags.min_temperature, coldest, flags.gumbel_decay_factor, since);
    }
  }

  void warm_up() {
    const auto warmup = optimization_.effective_warmup_updates();
    if (warmup == 0 || updates_ > warmup) return;
    const bool tri_stage = optimization_.lr_scheduler == "tri_stage";
    say("all of it is warm-up, and the learning rate never comes to --lr ({} {}{}); "
        "make the run longer or the warm-up shorter",
        !tri_stage                  ? "--warmup-updates"
        : optimization_.phase_ratio ? "by --phase-ratio"
                                    : "--warmup-steps",
        warmup, tri_stage || optimization_.warmup_updates ? "" : ", the default of inverse_sqrt");
  }

  void decay_to_end() {
    const auto total = optimization_.decay_end();
    const auto* option = optimization_.total_num_update ? "--total-num-update" : "--max-update";
    if (total < updates_) {
      say("its last {} updates have the learning rate --end-learning-rate {} (--total-num-update "
          "{}); give the length of the run, or leave --total-num-update out",
          updates_ - total, optimization_.end_learning_rate, total);
    }
    decays_late(option, total);
  }

  void cosine() {
    const auto warmup = optimization_.effective_warmup_updates();
    if (optimization_.lr_period_updates > 0) {
      decays_late("--lr-period-updates", warmup + optimization_.lr_period_updates);
    } else {
      decays_late("--max-update", optimization_.max_update);
    }
  }

  void tri_stage() {
    const auto total = optimization_.decay_end();
    if (total < updates_ && !optimization_.phase_ratio) {
      say("its last {} updates have the learning rate of --final-lr-scale {}, as the three parts "
          "have {} together; give --phase-ratio, or more --hold-steps or --decay-steps",
          updates_ - total, optimization_.final_lr_scale, total);
    }
    decays_late(optimization_.phase_ratio ? "--max-update" : "--decay-steps", total);
  }

  /// A run may be the beginning of a longer one; of less than a half that is unlikely.
  void decays_late(const char* option, int64_t last) {
    if (2 * updates_ >= last) return;
    say("the learning rate would decay until update {} ({}) and is still high at its end; give the "
        "length of the run",
        last, option);
  }

  void annealing() {
    const auto& epoch = optimization_.force_anneal;
    if (!epoch || optimization_.max_epoch == 0 || *epoch <= optimization_.max_epoch) return;
    say("the learning rate would shrink from epoch --force-anneal {} on, after "
        "--max-epoch {}; make the run longer or shrink earlier",
        *epoch, optimization_.max_epoch);
  }

  const TrainOptions& options_;
  const OptimizationOptions& optimization_;
  int64_t updates_;
  std::vector<std::string> found_;
};

}  // namespace

std::optional<int64_t> updates_ahead(const TrainOptions& options, EpochIterator& batches,
                                     int64_t epoch, int64_t offset, int64_t updates) {
  const auto& optimization = options.optimization;
  std::optional<int64_t> ahead;
  if (optimization.max_update > 0) ahead = optimization.max_update - updates;
  // Data folders that take turns have epochs of different lengths.
  if (optimization.max_epoch > 0 && options.data.find(':') == std::string::npos) {
    int64_t to_last_epoch = 0;
    for (auto next = epoch; next <= optimization.max_epoch; ++next) {
      const auto& by_epoch = optimization.update_freq;
      const auto left = batches.batches_per_epoch() - (next == epoch ? offset : 0);
      const auto together = by_epoch[std::min(static_cast<size_t>(next), by_epoch.size()) - 1];
      to_last_epoch += (left + together - 1) / together;
    }
    ahead = std::min(ahead.value_or(to_last_epoch), to_last_epoch);
  }
  return ahead;
}

std::vector<std::string> unfit_schedules(const TrainOptions& options, int64_t updates) {
  return Check(options, updates).found();
}

}  // namespace evomoe
