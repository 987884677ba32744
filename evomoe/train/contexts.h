#pragma once

#include <cstdint>

#include "evomoe/data/dataset.h"
#include "evomoe/models/forward_context.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/train/options.h"

/// What a forward pass needs beside the tokens, by what it is for. Seed, update and first sequence
/// of its noise are set here alone; layer and site where the noise is drawn, the sequence length
/// where the rows are known.
namespace evomoe {

/// That of a micro-batch of the training, after `updates` completed updates.
ForwardContext training_context(const TrainOptions& options, const Batch& batch, int64_t updates,
                                Communicator& communicator);

/// The context of a forward pass without dropout. `as_trained`: with the routing of the present
/// training stage after `updates` completed ones. Its noise has a seed of its own (never numbers of
/// the training) and is keyed by update, sequence and position; the place of the batch's first
/// sequence is the caller's to set.
ForwardContext evaluation_context(const TrainOptions& options, bool as_trained,
                                  int64_t updates = 0);

/// That of evaluation that pads no batch: generation (docs/reference.md section 10), eval-lm.
ForwardContext unpadded_context(const TrainOptions& options, int64_t updates);

}  // namespace evomoe
