#include "evomoe/train/optimizer_settings.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/config/option_table.h"

namespace evomoe {

OptimizerSettings optimizer_settings(const TrainOptions& options) {
  return {.weight_decay = options.optimizer.weight_decay,
          .lr_factors = LrFactors(options.optimizer.lr_factor),
          .offload = options.resources.offload_moments.value_or("")};
}

bool sets_own_learning_rate(const TrainOptions& options) {
  return options.optimizer.optimizer == AdafactorOptions::kMethod &&
         options.optimizer.of<AdafactorOptions>().relative_step;
}

void check_optimizer(const TrainOptions& options) {
  options.optimizer.make_rule();
  LrFactors(options.optimizer.lr_factor);
  const auto& name = options.optimizer.optimizer;
  const bool relative = sets_own_learning_rate(options);
  static const std::set<std::string> schedule = {"lr", "lr-scheduler", "warmup-updates",
                                                 "warmup-init-lr"};
  for_each_given(options, [&](const OptionTable& table, const Option& option) {
    const auto& condition = option.condition();
    if (condition.option == "optimizer" &&
        std::ranges::find(condition.values, name) == condition.values.end()) {
      fail_usage("--{} is an option of --optimizer {}, and this is --optimizer {}; leave it out",
                 option.name(), fmt::join(condition.values, " or "), name);
    }
    if (relative && schedule.contains(option.name())) {
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

}  // namespace evomoe
