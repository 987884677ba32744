#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evomoe/fairseq/fairseq_part.h"

namespace evomoe {

struct FairseqFile {
  std::string name;
  PickleValue root;
};

/// What one process of fully_sharded training wrote.
struct FairseqShard {
  FairseqFile shared;
  std::optional<FairseqFile> experts;  ///< of a mixture of experts
};

/// Puts the shards of all processes together: the part that they share, then the experts in their
/// order. fairscale's FSDP makes one flat tensor of the parameters of each module that it wraps and
/// gives every process of the module's group a piece of it; `shard_metadata` tells how. The weights
/// are such pieces (--use-sharded-state) or whole, Adam's state always is in pieces. Experts have
/// groups of their own: where there are more processes than `experts`, process r holds expert
/// r % experts. Metadata that do not fit the tensors are an Error that names the file.
std::vector<FairseqPart> join_fairseq_shards(const std::vector<FairseqShard>& shards,
                                             int64_t experts);

}  // namespace evomoe
