#pragma once

#include <map>
#include <memory>
#include <string>

#include "evomoe/data/epoch_iterator.h"
#include "evomoe/data/task_data.h"
#include "evomoe/parallel/rank_place.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// The data of a run.
struct RunData {
  std::unique_ptr<TaskData> task;
  std::unique_ptr<EpochIterator> batches;                       ///< of training
  std::map<std::string, std::shared_ptr<const Dataset>> valid;  ///< by subset
  std::unique_ptr<ByteBpe> bpe;  ///< with --eval-bleu, where the data folder has one

  /// Sequences in an epoch of training.
  int64_t items(const TrainOptions& options, int64_t epoch) const;
};

/// Opens it. What the data tells better than the options is written into them. Refuses data of
/// which no batch can be made, validation sets that --valid-subset leaves out unasked (UsageError),
/// sequences that are too long, and more ranks than batches. Of batches it has those of one rank.
RunData open_run_data(TrainOptions& options, const RankPlace& place);

}  // namespace evomoe
