#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "evomoe/checkpoint/run_state.h"
#include "evomoe/moe/evolution.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/options.h"

/// A run's options, dictionaries and stage as a RunState holds them.
namespace evomoe {

/// RunState::config of these options.
nlohmann::json stored_config(const TrainOptions& options);

/// The options of it. UsageError where this program does not know one of them, or its value.
TrainOptions stored_options(const RunState& state);

/// `stage`: that of the next update. `shared_expert`: the MoE layers hold the one shared expert.
/// `experts`: those that an MoE layer has now, where they grow, else 0.
EvolutionRecord evolution_record(const StageState& stage, bool shared_expert, int64_t experts = 0);

/// The options of the model that a checkpoint holds: those of its run, with as many experts as an
/// MoE layer had.
TrainOptions stored_model_options(const RunState& state);

ModelRecord model_record(const Dictionary& source, const Dictionary& target);

/// The sizes of the dictionaries that it tells of.
Vocabulary stored_vocabulary(const ModelRecord& model);

/// Throws Error when a dictionary is not the one the model was trained with: another size, or
/// other symbols. `target`: of what it predicts, the same as `source` but in translation.
void check_dictionaries(const ModelRecord& model, const Dictionary& source,
                        const Dictionary& target, const std::filesystem::path& checkpoint);

}  // namespace evomoe
