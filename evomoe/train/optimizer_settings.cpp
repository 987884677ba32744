#include "evomoe/train/optimizer_settings.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/config/option_table.h"

namespace evomoe {

namespace {

/// What the optimiser keeps of a matrix.
std::vector<std::string> slot_names(const TrainOptions& options) {
  std::vector<std::string> names;
  for (const auto& slot : options.optimizer.make_rule()->slots(ParameterKind::kMatrix, {2, 2}))
    names.push_back(slot.name);
  return names;
}

}  // namespace

OptimizerSettings optimizer_settings(const TrainOptions& options) {
  return {.weight_decay = options.optimizer.weight_decay,
          .lr_factors = LrFactors(options.optimizer.lr_factor),
          .offload = options.resources.offload_moments.value_or("")};
}

StateBytes state_bytes_of(const TrainOptions& options) {
  const std::shared_ptr<const UpdateRule> rule = options.optimizer.make_rule();
  const bool offloads = options.resources.offload_moments.has_value();
  return [=, frozen = options.optimizer.frozen()](ParameterKind kind,
                                                  const std::vector<int64_t>& sizes) {
    return frozen.contains(kind) ? kFrozen : state_bytes(*rule, kind, sizes, offloads);
  };
}

bool sets_own_learning_rate(const TrainOptions& options) {
  return options.optimizer.optimizer == AdafactorOptions::kMethod &&
         options.optimizer.of<AdafactorOptions>().relative_step;
}

const std::set<std::string>& schedule_options() {
  static const std::set<std::string> names = {
      "warmup-updates", "warmup-init-lr", "total-num-update", "end-learning-rate", "power",
      "lr-shrink",      "force-anneal",   "min-lr",           "lr-period-updates", "t-mult",
      "warmup-steps",   "hold-steps",     "decay-steps",      "phase-ratio",       "init-lr-scale",
      "final-lr-scale", "wsd-decay",      "wsd-decay-share"};
  return names;
}

void check_zero_stage(const TrainOptions& options, int64_t ranks) {
  const auto stage = zero_stage(options.distributed);
  if (stage == 0 || ranks == 1 || options.optimizer.make_rule()->is_elementwise()) return;
  fail_usage(
      "--optimizer {} with {}: it updates whole matrices, and ranks divide each one among "
      "themselves; give --zero-stage 0, or another optimizer",
      options.optimizer.optimizer,
      options.distributed.zero_stage ? fmt::format("--zero-stage {}", stage)
                                     : "--ddp-backend fully_sharded");
}

void check_optimizer(const TrainOptions& options) {
  options.optimizer.make_rule();
  check_zero_stage(options, options.distributed.distributed_world_size);
  LrFactors(options.optimizer.lr_factor);
  options.optimizer.frozen();
  const auto& name = options.optimizer.optimizer;
  const auto& schedule = options.optimization.lr_scheduler;
  const bool relative = sets_own_learning_rate(options);
  for_each_given(options, [&](const OptionTable& table, const Option& option) {
    const auto& condition = option.condition();
    if (condition.option == "optimizer" &&
        std::ranges::find(condition.values, name) == condition.values.end()) {
      fail_usage("--{} is an option of --optimizer {}, and this is --optimizer {}; leave it out",
                 option.name(), fmt::join(condition.values, " or "), name);
    }
    if (condition.option == "lr-scheduler" &&
        std::ranges::find(condition.values, schedule) == condition.values.end()) {
      fail_usage(
          "--{} is an option of --lr-scheduler {}, and this is --lr-scheduler {}; leave it "
          "out",
          option.name(), fmt::join(condition.values, " or "), schedule);
    }
    const bool of_schedule = option.name() == "lr" || option.name() == "lr-scheduler" ||
                             option.name() == "lr-rewarmup-updates" ||
                             schedule_options().contains(option.name());
    if (relative && of_schedule) {
      fail_usage(
          "{} has no effect with --relative-step, which sets the learning rate itself; leave one "
          "of them out",
          table.written(option));
    }
  });
}

void check_optimizer_state(const TrainOptions& stored, const TrainOptions& now,
                           const std::filesystem::path& checkpoint) {
  const auto &was = stored.optimizer.optimizer, &is = now.optimizer.optimizer;
  EVOMOE_CHECK(was == is,
               "{}: it holds the state of --optimizer {}, and --optimizer {} cannot go on from "
               "that; use --optimizer {}, or begin with a new state by --reset-optimizer",
               checkpoint.string(), was, is, was);
  const auto kept = slot_names(stored), wanted = slot_names(now);
  EVOMOE_CHECK(
      kept == wanted,
      "{}: of a matrix --optimizer {} has kept {}, and with the options now given it keeps "
      "{}; give the optimizer's options of the checkpoint, or begin with a new state by "
      "--reset-optimizer",
      checkpoint.string(), is, fmt::join(kept, ", "), fmt::join(wanted, ", "));
}

void announce_lr_factors(const TrainOptions& options,
                         const std::vector<NamedParameter>& parameters) {
  const LrFactors factors(options.optimizer.lr_factor);
  for (const auto& [kind, factor] : factors.given()) {
    int64_t count = 0;
    for (const auto& parameter : parameters)
      count += parameter.kind == kind ? parameter.tensor.numel() : 0;
    const auto name = parameter_kind_name(kind);
    if (count > 0) {
      log().info("learning rate of {} parameters: times {} (--lr-factor), {} of them", name, factor,
                 count);
    } else {
      log().warn("--lr-factor {}={} has no effect: this model has no {} parameters", name, factor,
                 name);
    }
  }
}

void announce_frozen(const TrainOptions& options, const std::vector<NamedParameter>& parameters) {
  const auto frozen = options.optimizer.frozen();
  if (frozen.empty()) return;
  int64_t trained = 0, all = 0;
  for (const auto& parameter : parameters) {
    all += parameter.tensor.numel();
    trained += frozen.contains(parameter.kind) ? 0 : parameter.tensor.numel();
  }
  log().info("{} of {} parameters are trained (--freeze {})", trained, all,
             fmt::join(options.optimizer.freeze, ","));
}

}  // namespace evomoe
