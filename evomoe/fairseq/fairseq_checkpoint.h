#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/fairseq/pickle_value.h"

namespace evomoe {

/// A checkpoint of the authors' code (fairseq) under our names.
struct FairseqCheckpoint {
  std::string file;     ///< what errors call it
  TensorMap model;      ///< float32; experts stacked (base/expert_weights.h)
  TensorMap optimizer;  ///< as Optimizer::state_dict(); empty: the file has none
  PickleValue cfg;      ///< the options, by group
  int64_t updates = 0;
  int64_t epoch = 1;
  int64_t iterations_in_epoch = 0;  ///< micro-batches
  double seconds = 0;               ///< of training
  std::optional<double> best;       ///< the best value of the validations
};

/// Reads `x.pt`, or a set of files, of which `path` is one or the name that they have in common:
/// - of a mixture of experts, `x-shared.pt` and `x-rank-0.pt`, `x-rank-1.pt` ...;
/// - of fully_sharded training, `x-shard0.pt`, `x-shard1.pt` ...;
/// - of both, `x-shared-shard0.pt`, `x-rank-0-shard0.pt`, `x-shared-shard1.pt` ...
/// Where more processes than experts were trained each expert is read once. A file that is missing
/// is an Error that names it, and so are several sets of one name. Without `with_optimizer` its
/// state is not looked at.
FairseqCheckpoint read_fairseq_checkpoint(const std::filesystem::path& path,
                                          bool with_optimizer = true);

/// Whether `path` names a checkpoint of fairseq: x.pt, being a file, or the name of a set.
bool is_fairseq_checkpoint(const std::filesystem::path& path);

}  // namespace evomoe
