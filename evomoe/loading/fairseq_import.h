#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/fairseq/fairseq_checkpoint.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/options.h"

/// Runs of the authors' code as ours.
namespace evomoe {

/// The options of a run of theirs. What has no meaning here is left out; a value that ours cannot
/// have (another optimiser) is a UsageError that names the option. `data`: instead of the run's own
/// data folder; empty: that one. `weights_only`: optimiser and learning rate, which may be ones
/// that we do not have, are left out. Several processes become one that joins their micro-batches
/// (--update-freq).
TrainOptions options_of_fairseq(const FairseqCheckpoint& theirs, const std::string& data,
                                bool weights_only = false);

/// A checkpoint of theirs as one of ours, of a run with `options`; whether its tensors are those of
/// the options' model is not looked at. `training_items`: sequences in its epoch; 0 where no run
/// goes on from it.
Checkpoint checkpoint_of_fairseq(const FairseqCheckpoint& theirs, const TrainOptions& options,
                                 const Dictionary& source, const Dictionary& target,
                                 int64_t training_items);

/// Makes the run folder `folder` with one checkpoint, from which `evomoe train` goes on as theirs
/// would. Returns the options, with save_dir `folder`. Error when the model of the options is not
/// that of the tensors, or a dictionary of another size. `weights_only`: optimiser and learning
/// rate that we do not have become the defaults, with a warning.
TrainOptions import_fairseq_run(const FairseqCheckpoint& theirs, const std::string& data,
                                const std::filesystem::path& folder, bool weights_only = false);

}  // namespace evomoe
