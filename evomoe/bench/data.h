#pragma once

#include "evomoe/bench/model_case.h"

namespace evomoe::bench {

/// `evomoe bench data`: how fast batches of a binarised data set come, and how long training waits
/// for them.
struct DataBenchOptions {
  RunOptions run;
  ModelFlags model;
  int64_t epoch_batches = 500;  ///< size of the data set
  int64_t num_workers = 1;
  std::string folder;  ///< for the data set; empty: the system's
};

void describe(OptionTable& table, DataBenchOptions& options);
void run(const DataBenchOptions& options);

}  // namespace evomoe::bench
