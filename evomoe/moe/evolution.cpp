#include "evomoe/moe/evolution.h"

#include <fmt/ranges.h>

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

/// Updates at which layers get more experts: the spawn, and each growth.
std::vector<int64_t> changes_of_experts(const EvolutionOptions& options) {
  std::vector<int64_t> changes;
  auto update = options.shared_expert_updates;
  if (update > 0) changes.push_back(update);
  for (const auto updates : options.growth_updates) changes.push_back(update += updates);
  return changes;
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
  table
      .add(
          "evolution-router-init", &evolution_router_init,
          "Where the routers begin at the spawn: with their random weights; or with a direction of "
          "each expert, by spherical k-means of what the layer is given in that update.")
      .choices({"random", "kmeans"});
  table
      .add("lr-rewarmup-updates", &lr_rewarmup_updates,
           "Updates after the spawn in which the learning rate of the schedule is multiplied by "
           "1/N, 2/N, ... 1, whichever it is, and after each growth; 0: no second warm-up.")
      .at_least(0);
  table
      .add("growth-experts", &growth_experts,
           "Experts of a layer before it has all, each becoming several copies: 2,4 with "
           "--moe-expert-count 8 grows from 2 to 4 to 8.")
      .at_least(1);
  table
      .add("growth-updates", &growth_updates,
           "Updates with each number of growth-experts, from the spawn on.")
      .at_least(1);
  table
      .add("growth-noise", &growth_noise,
           "Normal noise on the router's rows of copied experts, in standard deviations of all.")
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
  if (options.lr_rewarmup_updates < 0) {
    fail_usage("--lr-rewarmup-updates {} is negative; 0 means no second warm-up",
               options.lr_rewarmup_updates);
  }
  if (options.growth_experts.size() != options.growth_updates.size()) {
    fail_usage(
        "--growth-experts has {} numbers and --growth-updates {}; give the updates with each of "
        "these numbers, e.g. --growth-experts 2,4 --growth-updates 1000,1000",
        options.growth_experts.size(), options.growth_updates.size());
  }
  for (const auto updates : options.growth_updates) {
    if (updates < 1) fail_usage("--growth-updates {}: each number must be at least 1", updates);
  }
  if (!(options.growth_noise >= 0 && std::isfinite(options.growth_noise))) {
    fail_usage("--growth-noise {} must be a finite number of at least 0", options.growth_noise);
  }
  if (options.lr_rewarmup_updates > 0 && changes_of_experts(options).empty()) {
    fail_usage(
        "--lr-rewarmup-updates {} follows the spawn or growth, and without --shared-expert-updates "
        "and --growth-experts there is none; give one of these, or leave it out",
        options.lr_rewarmup_updates);
  }
  const auto& router_init = options.evolution_router_init;
  if (router_init != "random" && router_init != "kmeans") {
    fail_usage("--evolution-router-init '{}' is not known; it may be random or kmeans",
               router_init);
  }
  if (router_init != "random" && options.shared_expert_updates == 0) {
    fail_usage(
        "--evolution-router-init {} is of the spawn, and without --shared-expert-updates there is "
        "none; give that, or leave it out",
        router_init);
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

int64_t experts_at(const EvolutionOptions& options, int64_t num_experts,
                   int64_t completed_updates) {
  auto end = options.shared_expert_updates;
  for (size_t i = 0; i < options.growth_experts.size(); ++i) {
    end += options.growth_updates.at(i);
    if (completed_updates < end) return options.growth_experts[i];
  }
  return num_experts;
}

void check_growth(const EvolutionOptions& options, int64_t num_experts) {
  auto experts = options.growth_experts;
  if (experts.empty()) return;
  experts.push_back(num_experts);
  for (size_t i = 0; i + 1 < experts.size(); ++i) {
    if (experts[i] < 1 || experts[i + 1] <= experts[i] || experts[i + 1] % experts[i] != 0) {
      fail_usage(
          "--growth-experts {}, then --moe-expert-count {}: {} experts cannot become {}, as each "
          "becomes equally many; every number must be a multiple of the one before",
          fmt::join(options.growth_experts, ","), num_experts, experts[i], experts[i + 1]);
    }
  }
}

double rewarmup_factor(const EvolutionOptions& options, int64_t completed_updates) {
  const auto updates = options.lr_rewarmup_updates;
  int64_t last = -1;
  for (const auto change : changes_of_experts(options)) {
    if (change <= completed_updates) last = change;
  }
  const auto since = completed_updates - last;
  if (last < 0 || since >= updates) return 1.0;
  return static_cast<double>(since + 1) / static_cast<double>(updates);
}

}  // namespace evomoe
