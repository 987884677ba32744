#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/moe/diversify.h"
#include "evomoe/routing/router.h"

namespace evomoe {

class OptionTable;

/// The parts of an evolution, in order. kConstant: nothing changes (no Gumbel-softmax).
enum class Stage { kSharedExpert, kDenseToSparse, kSparse, kConstant };

/// "shared-expert", "dense-to-sparse", "sparse"; of kConstant, which is no stage, nothing.
const char* stage_name(Stage stage);

/// When and how the experts are spawned, and how the dense-to-sparse gate is annealed. A field is
/// the option of the same name.
struct EvolutionOptions {
  int64_t shared_expert_updates = 0;  ///< updates with one shared expert; 0: no such stage
  DiversifyOptions diversify;
  bool use_gumbel_softmax = false;              ///< there is a temperature
  std::string gumbel_decay_scheduler = "none";  ///< Linear | Exp; none: it stays at its maximum
  double gumbel_decay_factor = 1.0;             ///< updates from max_temperature to min_temperature
  double max_temperature = 1.0;
  double min_temperature = 0.5;
  /// Update since the spawn from which a token uses one expert; the first is never hard, so -1
  /// means the second.
  int64_t switch_to_hard_gumbel_softmax = -1;
  double sparse_stage_noise = 1.0;  ///< scale of the Gumbel noise in the sparse stage, in [0,1]
  int64_t sparse_noise_decay = 0;   ///< updates from scale 1 to that one; 0: at once
  int64_t lr_rewarmup_updates = 0;  ///< of a second warm-up, from the spawn on
  /// The gate's weight at the spawn: | kmeans, directions of what the layer is given.
  std::string evolution_router_init = "random";
  std::vector<int64_t> growth_experts;  ///< of a layer before it has all, one after the other
  std::vector<int64_t> growth_updates;  ///< with each of these
  double growth_noise = 0.1;            ///< on copied rows of the gate, in standard deviations

  void describe(OptionTable& table);
  /// The first update since the spawn in which a token uses one expert.
  int64_t first_hard_update() const;
};

/// Throws UsageError for values outside their ranges, naming flag, value and remedy; also for those
/// of `diversify`.
void validate(const EvolutionOptions& options);

struct StageState {
  Stage stage = Stage::kConstant;
  RouterSchedule schedule;
  bool spawn = false;  ///< the experts are to be spawned before this update: the first after the
                       ///< shared-expert stage
};

/// What the next update runs with, after `completed_updates` successful ones. A pure function, so
/// that a resumed run is the same as one that was not interrupted. Updates of the dense-to-sparse
/// stage count from the spawn; without a shared-expert stage this is the reference's schedule.
StageState stage_at(const EvolutionOptions& options, int64_t completed_updates);

/// How many of its `num_experts` experts a layer has in the update after `completed_updates`; in
/// the shared-expert stage those that the one will become. Pure as stage_at().
int64_t experts_at(const EvolutionOptions& options, int64_t num_experts, int64_t completed_updates);

/// UsageError unless each number of growth_experts is a multiple of the one before, and num_experts
/// of the last.
void check_growth(const EvolutionOptions& options, int64_t num_experts);

/// What the learning rate of the update after `completed_updates` is multiplied by: 1, but 1/N,
/// 2/N, ... 1 in the N updates of lr_rewarmup_updates that follow the spawn, or growth. Pure as
/// stage_at().
double rewarmup_factor(const EvolutionOptions& options, int64_t completed_updates);

}  // namespace evomoe
