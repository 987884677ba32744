#pragma once

#include <filesystem>

#include "evomoe/checkpoint/pickle_value.h"
#include "evomoe/checkpoint/safetensors.h"

namespace evomoe {

/// A checkpoint of the authors' code (fairseq) under our names.
struct FairseqCheckpoint {
  TensorMap model;      ///< experts stacked (w1 [E,H,D], b1 [E,H], w2 [E,D,H], b2 [E,D])
  TensorMap optimizer;  ///< as Adam::state_dict(); empty: the file has none
  PickleValue cfg;      ///< the options, by group
  int64_t updates = 0;
  int64_t epoch = 1;
  int64_t iterations_in_epoch = 0;  ///< micro-batches
  PickleValue best;                 ///< the best value of the validations; None before the first
};

/// Reads `x.pt`, or the set `x-shared.pt` and `x-rank-0.pt`, `x-rank-1.pt` ...: `path` is one file
/// of it or the name that they have in common. A rank that is missing is an Error that names its
/// file. Shards of fully_sharded training are refused with the remedy.
FairseqCheckpoint read_fairseq_checkpoint(const std::filesystem::path& path);

/// Whether `path` names a checkpoint of fairseq: x.pt, being a file, or the name of a set.
bool is_fairseq_checkpoint(const std::filesystem::path& path);

}  // namespace evomoe
