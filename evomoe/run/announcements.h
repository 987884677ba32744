#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/run/run_data.h"
#include "evomoe/train/options.h"
#include "evomoe/train/trainer.h"

/// What a run says in words.
namespace evomoe {

/// Before it begins: data, model, learning rates, and schedules that do not fit the
/// `updates_ahead` updates that it makes (nothing: no option says how many).
void announce_run(const TrainOptions& options, const RunData& data, Trainer& trainer,
                  std::optional<int64_t> updates_ahead);

/// What a stage does that begins with this update, behind "the ... stage begins".
std::string stage_words(const TrainOptions& options, const UpdateResult& result, size_t moe_layers);

/// How a run that a signal stopped goes on.
std::string how_to_go_on(const TrainOptions& options);

}  // namespace evomoe
