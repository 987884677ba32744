#pragma once

#include "evomoe/bench/model_case.h"

namespace evomoe::bench {

/// `evomoe bench checkpoint`: training that writes checkpoints in the background, beside the same
/// training without, in alternation.
struct CheckpointBenchOptions {
  RunOptions run;
  ModelFlags model;
  int64_t save_interval = 20;  ///< steps from one checkpoint to the next
  std::string folder;          ///< for the checkpoints; empty: the system's
};

void describe(OptionTable& table, CheckpointBenchOptions& options);
void run(const CheckpointBenchOptions& options);

}  // namespace evomoe::bench
