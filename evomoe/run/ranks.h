#pragma once

#include <torch/torch.h>

#include "evomoe/parallel/rank_groups.h"
#include "evomoe/parallel/rank_place.h"
#include "evomoe/run/run_data.h"
#include "evomoe/train/options.h"

/// What a run of several processes has to do that one of a single process has not.
namespace evomoe {

/// Joins the other ranks, and divides the experts among them. Error where one of them has other
/// options, another version of the program, or other data; UsageError for another device than the
/// CPU.
RankGroups join_run(const RankPlace& place, const TrainOptions& options, const RunData& data,
                    torch::Device device);

/// Whether a checkpoint takes all ranks: they hold different experts, or what --zero-stage divides.
bool save_together(const TrainOptions& options, const RankGroups& ranks);

/// The options of a rank but 0: it writes neither log nor checkpoints, which would be those of rank
/// 0 again.
TrainOptions silent(TrainOptions options);

/// What ends a run from outside, the same on all ranks: each may see it at another moment.
struct Interruption {
  int signal = 0;           ///< SIGINT, SIGTERM or 0
  bool time_is_up = false;  ///< --stop-time-hours, by the clock of rank 0
};

/// `own`: what this rank sees.
Interruption agree(Interruption own, Communicator& communicator);

}  // namespace evomoe
