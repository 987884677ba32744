#include "evomoe/moe/evolution.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

bool keeps_temperature(const std::string& decay) { return decay.empty() || decay == "none"; }

/// The temperature after n updates of the dense-to-sparse stage, as the authors' code has it.
double temperature(const EvolutionOptions& options, int64_t n) {
  const double high = options.max_temperature, low = options.min_temperature;
  if (keeps_temperature(options.decay)) return high;
  const double updates = static_cast<double>(n), factor = options.decay_factor;
  if (options.decay == "Linear") return std::max(high - updates * (high - low) / factor, low);
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
  if (!keeps_temperature(options.decay) && options.decay != "Linear" && options.decay != "Exp") {
    fail_usage("--gumbel-decay-scheduler '{}' is not known; it may be Linear, Exp or none",
               options.decay);
  }
  if (!(options.min_temperature > 0)) {
    fail_usage("--min-temperature {} must be greater than 0", options.min_temperature);
  }
  if (!(options.max_temperature >= options.min_temperature)) {
    fail_usage("--max-temperature {} is below --min-temperature {}; the temperature only falls",
               options.max_temperature, options.min_temperature);
  }
  if (!(options.decay_factor > 0)) {
    fail_usage(
        "--gumbel-decay-factor {} must be greater than 0: it is the number of updates from "
        "--max-temperature to --min-temperature",
        options.decay_factor);
  }
  if (options.switch_to_hard < -1) {
    fail_usage(
        "--switch-to-hard-gumbel-softmax {} lies before the experts are spawned; it counts updates "
        "since then (-1: from the second one on)",
        options.switch_to_hard);
  }
  if (!(options.sparse_stage_noise >= 0 && options.sparse_stage_noise <= 1)) {
    fail_usage("--sparse-stage-noise {} must lie between 0 and 1", options.sparse_stage_noise);
  }
  if (options.sparse_noise_decay < 0) {
    fail_usage("--sparse-noise-decay {} is negative; 0 means at once", options.sparse_noise_decay);
  }
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
  // The reference sets its hard flag after an update, so that the first one is always soft.
  const auto first_hard = std::max<int64_t>(1, options.switch_to_hard);
  state.schedule.hard = n >= first_hard;
  state.stage = state.schedule.hard ? Stage::kSparse : Stage::kDenseToSparse;
  if (state.schedule.hard) state.schedule.noise_scale = noise_scale(options, n - first_hard);
  return state;
}

}  // namespace evomoe
