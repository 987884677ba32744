#include "evomoe/moe/evolution.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

/// The temperature after n updates of the dense-to-sparse stage, as the authors' code has it.
double temperature(const EvolutionOptions& options, int64_t n) {
  const double high = options.max_temperature, low = options.min_temperature;
  const auto& decay = options.gumbel_decay_scheduler;
  if (decay == "none") return high;
  const double updates = static_cast<double>(n), factor = options.gumbel_decay_factor;
  if (decay == "Linear") return std::max(high - updates * (high - low) / factor, low);
  return std::max(high * std::exp(std::log(low / high) / factor * updates), low);
}

/// The scale of the noise in hard update number j (from 0).
double noise_scale(const EvolutionOptions& options, int64_t j) {
  if (options.sparse_noise_decay == 0) return options.sparse_stage_noise;
  const double share =
      std::min(1.0, static_cast<double>(j) / static_cast<double>(options.sparse_noise_decay));
  return 1.0 + share * (options.sparse_stage_noise - 1.0);
}

}  // namespace

void EvolutionOptions::describe(OptionTable& table) {
  table.group("evolution", "Evolution of the experts");
  table
      .add("shared-expert-updates", &shared_expert_updates,
           "Updates with one shared expert per MoE layer, before it is diversified into all; 0: "
           "start with all.")
      .at_least(0);
  diversify.describe(table);
  table.add("use-gumbel-softmax", &use_gumbel_softmax, "Turns the temperature schedule on.");
  table
      .add("gumbel-decay-scheduler", &gumbel_decay_scheduler,
           "How the temperature falls; none: it stays.")
      .choices({"Linear", "Exp", "none"})
      .synonyms({{"None", "none"}});
  table
      .add("gumbel-decay-factor", &gumbel_decay_factor,
           "Updates from the highest to the lowest temperature.")
      .above(0);
  table.add("max-temperature", &max_temperature,
            "Temperature at the start of the dense-to-sparse stage.");
  table.add("min-temperature", &min_temperature, "Lowest temperature.");
  table.add("switch-to-hard-gumbel-softmax", &switch_to_hard_gumbel_softmax,
            "Updates of the dense-to-sparse stage before each token uses one expert; -1: from the "
            "second update on, as the reference.");
  table.add("sparse-stage-noise", &sparse_stage_noise,
            "Scale of the Gumbel noise in the sparse stage: 1 samples the expert, as the "
            "reference; 0 takes the most probable one.");
  table
      .add("sparse-noise-decay", &sparse_noise_decay,
           "Updates over which the noise falls from 1 to sparse-stage-noise; 0: at once.")
      .at_least(0);
}

int64_t EvolutionOptions::first_hard_update() const {
  // The reference sets its hard flag after an update, so that the first one is always soft.
  return std::max<int64_t>(1, switch_to_hard_gumbel_softmax);
}

const char* stage_name(Stage stage) {
  switch (stage) {
    case Stage::kSharedExpert:
      return "shared-expert";
    case Stage::kDenseToSparse:
      return "dense-to-sparse";
    case Stage::kSparse:
      return "sparse";
    case Stage::kConstant:
      return "";
  }
  fail("stage number {} has no name", static_cast<int>(stage));
}

void validate(const EvolutionOptions& options) {
  if (options.shared_expert_updates < 0) {
    fail_usage("--shared-expert-updates {} is negative; 0 means no shared-expert stage",
               options.shared_expert_updates);
  }
  const auto& decay = options.gumbel_decay_scheduler;
  if (decay != "none" && decay != "Linear" && decay != "Exp") {
    fail_usage("--gumbel-decay-scheduler '{}' is not known; it may be Linear, Exp or none", decay);
  }
  if (!(options.min_temperature > 0)) {
    fail_usage("--min-temperature {} must be greater than 0", options.min_temperature);
  }
  if (!(options.max_temperature >= options.min_temperature)) {
    fail_usage("--max-temperature {} is below --min-temperature {}; the temperature only falls",
               options.max_temperature, options.min_temperature);
  }
  if (!(options.gumbel_decay_factor > 0)) {
    fail_usage(
        "--gumbel-decay-factor {} must be greater than 0: it is the number of updates from "
        "--max-temperature to --min-temperature",
        options.gumbel_decay_factor);
  }
  if (options.switch_to_hard_gumbel_softmax < -1) {
    fail_usage(
        "--switch-to-hard-gumbel-softmax {} lies before the experts are spawned; it counts updates "
        "since then (-1: from the second one on)",
        options.switch_to_hard_gumbel_softmax);
  }
  if (!(options.sparse_stage_noise >= 0 && options.sparse_stage_noise <= 1)) {
    fail_usage("--sparse-stage-noise {} must lie between 0 and 1", options.sparse_stage_noise);
  }
  if (options.sparse_noise_decay < 0) {
    fail_usage("--sparse-noise-decay {} is negative; 0 means at once", options.sparse_noise_decay);
  }
  validate(options.diversify);
}

StageState stage_at(const EvolutionOptions& options, int64_t completed_updates) {
  EVOMOE_CHECK(completed_updates >= 0, "a run cannot have completed {} updates", completed_updates);
  StageState state;
  const auto shared = options.shared_expert_updates;
  if (completed_updates < shared) {
    state.stage = Stage::kSharedExpert;
    return state;
  }
  state.spawn = shared > 0 && completed_updates == shared;
  if (!options.use_gumbel_softmax) return state;

  const auto n = completed_updates - shared;
  state.schedule.temperature = temperature(options, n);
  const auto first_hard = options.first_hard_update();
  state.schedule.hard = n >= first_hard;
  state.stage = state.schedule.hard ? Stage::kSparse : Stage::kDenseToSparse;
  if (state.schedule.hard) state.schedule.noise_scale = noise_scale(options, n - first_hard);
  return state;
}

}  // namespace evomoe
