#pragma once

#include <filesystem>
#include <string>

#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/train/options.h"

/// What must agree between a checkpoint and the run that goes on from it.
namespace evomoe {

/// Throws Error, naming each option with both values and the remedy, when the options given now
/// make another model than the checkpoint's, or (within an epoch, and without --reset-dataloader)
/// other data or another order of it (`training_items`: sequences in the checkpoint's epoch).
/// Returns what else differs, "--lr 0.1 -> 0.2, ...", for the log; a run may change those.
std::string check_resume(const Checkpoint& checkpoint, const TrainOptions& now,
                         int64_t training_items, const std::filesystem::path& path);

/// What differs between the checkpoint's model and the one that the options make, as a list of
/// flags; for a run that takes only its weights.
std::string model_differences(const RunState& state, const TrainOptions& now);

/// Throws Error when a checkpoint whose MoE layers have so many experts is of another schedule of
/// growth (--growth-experts).
void check_experts(int64_t experts, const TrainOptions& now, int64_t completed_updates,
                   const std::filesystem::path& checkpoint);

/// Throws Error when the checkpoint holds one shared expert where the schedule, after
/// `completed_updates`, has many, or the other way round.
void check_spawn(bool shared_expert, const TrainOptions& now, int64_t completed_updates,
                 const std::filesystem::path& checkpoint);

}  // namespace evomoe
