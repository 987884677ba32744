#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/checkpoint/fairseq_checkpoint.h"
#include "evomoe/config/options.h"

/// Runs of the authors' code as ours, and back.
namespace evomoe {

/// The options of a run of theirs. What has no meaning here is left out; a value that ours cannot
/// have (another optimiser) is a UsageError that names the option. `data`: instead of the run's own
/// data folder; empty: that one.
TrainOptions options_of_fairseq(const PickleValue& cfg, const std::string& data);

/// Makes the run folder `folder` with one checkpoint, from which `evomoe train` goes on as theirs
/// would. Error when the model of the options is not that of the tensors, or the dictionary of
/// another size. Returns the options, with save_dir `folder`.
TrainOptions import_fairseq_run(const FairseqCheckpoint& theirs, const std::string& data,
                                const std::filesystem::path& folder);

/// Writes a checkpoint of ours as theirs: `path` (x.pt) for a dense model, x-shared.pt and
/// x-rank-0.pt for a mixture of experts. UsageError for a routing method that they do not have, Error
/// in the shared-expert stage. Returns the files.
std::vector<std::filesystem::path> export_fairseq_run(const std::filesystem::path& checkpoint,
                                                      const std::filesystem::path& path);

}  // namespace evomoe
