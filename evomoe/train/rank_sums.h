#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "evomoe/parallel/communicator.h"
#include "evomoe/routing/routing.h"
#include "evomoe/score/bleu.h"
#include "evomoe/train/criterion.h"

/// What the ranks of a run have each counted, made what all of them together have.
namespace evomoe {

/// The sums of all ranks. Answers of a regression come in the order of the ranks. All ranks must
/// have the same criterion.
void sum_over_ranks(LossSums& sums, Communicator& communicator);

/// The statistics over all ranks, of all layers at once.
void sum_over_ranks(LayerStats& layers, Communicator& communicator);

/// What a batch that stands in (Batch::stands_in) counts: nothing, under the same names.
void forget(LossSums& sums);
void forget(RouterStats& stats);

/// The counts of the sentences of all ranks.
void sum_over_ranks(BleuCounts& counts, Communicator& communicator);

}  // namespace evomoe
