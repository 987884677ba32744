#pragma once

#include <cstdint>
#include <vector>

#include "evomoe/train/memory_estimate.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// What one update asks for, whatever the machine and the ranks.
struct Workload {
  int64_t micro_batches = 0;  ///< of an update, of each rank
  int64_t tokens = 0;         ///< of a micro-batch
  int64_t width = 0;          ///< D
  int64_t experts = 0;        ///< E; 0: a dense model
  double active_experts = 0;  ///< of a token, in the layers with experts
  int64_t blocks = 0;         ///< of the model, encoder and decoder
  double flops = 0;           ///< of a micro-batch: forward, backward, what is made again
  int64_t exchanges = 0;      ///< times that rows travel to experts and back, both counted
  MemoryEstimate memory;      ///< of one process with the whole model
};

/// `active_experts`: experts that a token uses, on average. Micro-batches have --batch-size
/// sequences of --tokens-per-sample tokens, or --max-tokens. UsageError: neither is given.
Workload workload_of(const TrainOptions& options, const Vocabulary& vocabulary,
                     double active_experts);

}  // namespace evomoe
