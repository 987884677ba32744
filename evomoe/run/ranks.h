#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/data/dataset.h"
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

/// What ranks say of data, so that they notice other data: its size, and a number made of some of
/// its items.
std::string data_fact(const Dataset& dataset);

/// Refuses ranks that see another --save-dir than rank 0, of another machine or of another current
/// folder: rank 0 writes a file of a random name, which the others look for. The Error, of all
/// ranks, names those that do not find it. Nothing is done with --no-save.
void check_same_folder(const TrainOptions& options, Communicator& communicator);

/// Whether a checkpoint takes all ranks: they hold different experts, or what --zero-stage divides.
bool save_together(const TrainOptions& options, const RankGroups& ranks);

/// The options of a rank but 0: it writes neither log nor checkpoints, which would be those of rank
/// 0 again.
TrainOptions silent(TrainOptions options);

/// What ends a run from outside, the same on all ranks: each may see it at another moment.
struct Interruption {
  int signal = 0;      ///< SIGINT, SIGTERM or 0
  double seconds = 0;  ///< that the run has taken, by the clock of rank 0
};

/// `own`: what this rank sees.
Interruption agree(Interruption own, Communicator& communicator);

}  // namespace evomoe
