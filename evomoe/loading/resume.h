#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/options.h"

/// What must agree between a checkpoint and the run that goes on from it.
namespace evomoe {

/// The manifest's section "model": what the weights were made for and tensor shapes do not tell.
nlohmann::json model_section(const Dictionary& source, const Dictionary& target);

/// The sizes of the dictionaries that it tells of.
Vocabulary stored_vocabulary(const nlohmann::json& manifest);

/// Throws Error when a dictionary is not the one the model was trained with: another size, or
/// other symbols. `target`: of what it predicts, the same as `source` but in translation.
void check_dictionaries(const nlohmann::json& manifest, const Dictionary& source,
                        const Dictionary& target, const std::filesystem::path& checkpoint);

/// Throws Error, naming each option with both values and the remedy, when the options given now
/// make another model than the checkpoint's, or (within an epoch, and without --reset-dataloader)
/// other data or another order of it (`training_items`: sequences in the checkpoint's epoch).
/// Returns what else differs, "--lr 0.1 -> 0.2, ...", for the log; a run may change those.
std::string check_resume(const Checkpoint& checkpoint, const TrainOptions& now,
                         int64_t training_items, const std::filesystem::path& path);

/// What differs between the checkpoint's model and the one that the options make, as a list of
/// flags; for a run that takes only its weights.
std::string model_differences(const nlohmann::json& manifest, const TrainOptions& now);

/// Throws Error when the checkpoint holds one shared expert where the schedule, after
/// `completed_updates`, has many, or the other way round.
void check_spawn(bool shared_expert, const TrainOptions& now, int64_t completed_updates,
                 const std::filesystem::path& checkpoint);

}  // namespace evomoe
