#pragma once

#include <filesystem>
#include <vector>

/// Checkpoints of ours for the authors' code.
namespace evomoe {

/// Writes a checkpoint of ours as theirs: `path` (x.pt) for a dense model, x-shared.pt and
/// x-rank-0.pt for a mixture of experts. UsageError for a routing method that they do not have,
/// Error in the shared-expert stage. Returns the files.
std::vector<std::filesystem::path> export_fairseq_run(const std::filesystem::path& checkpoint,
                                                      const std::filesystem::path& path,
                                                      bool with_optimizer = true);

}  // namespace evomoe
