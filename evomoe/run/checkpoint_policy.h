#pragma once

#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// What a run's options say of its checkpoints. UsageError for a --best-checkpoint-metric that
/// cannot be part of a file name.
CheckpointPolicy checkpoint_policy(const TrainOptions& options);

/// Whether checkpoints are written while training goes on. The copy that they are written from
/// would need what --offload-moments saves.
bool saves_in_background(const TrainOptions& options);

}  // namespace evomoe
