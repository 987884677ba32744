#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "evomoe/optim/optimizer.h"
#include "evomoe/train/memory_estimate.h"
#include "evomoe/train/options.h"

/// --optimizer and what goes with it, of a run.
namespace evomoe {

OptimizerSettings optimizer_settings(const TrainOptions& options);

/// What the optimiser keeps of a parameter in memory; kFrozen for what --freeze names.
StateBytes state_bytes_of(const TrainOptions& options);

/// Whether --lr and its schedule are not used (--relative-step of Adafactor).
bool sets_own_learning_rate(const TrainOptions& options);

/// The options of learning-rate schedules, beside --lr and --lr-scheduler.
const std::set<std::string>& schedule_options();

/// UsageError for what the optimiser refuses, an option of another one, a bad --lr-factor, and a
/// learning rate or schedule beside --relative-step.
void check_optimizer(const TrainOptions& options);

/// UsageError where ranks cannot divide the optimiser's state (--zero-stage).
void check_zero_stage(const TrainOptions& options, int64_t ranks);

/// Error if the state in `checkpoint`, of a run with the options `stored`, is that of another
/// optimiser than this run's, or of options with which it keeps other tensors.
void check_optimizer_state(const TrainOptions& stored, const TrainOptions& now,
                           const std::filesystem::path& checkpoint);

/// Logs the factors of --lr-factor with the number of parameters that each is for; a warning where
/// there are none of that kind.
void announce_lr_factors(const TrainOptions& options,
                         const std::vector<NamedParameter>& parameters);

/// Logs how many parameters --freeze leaves.
void announce_frozen(const TrainOptions& options, const std::vector<NamedParameter>& parameters);

}  // namespace evomoe
