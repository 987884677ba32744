#pragma once

#include "evomoe/bench/bench_options.h"

namespace evomoe::bench {

/// Sizes of an output projection with cross-entropy.
struct LossCase {
  int64_t tokens = 2048;
  int64_t dim = 512;
  int64_t vocab = 8192;

  std::string label() const;
};

/// `evomoe bench loss`: output projection and cross-entropy, forward and backward, beside the plain
/// form that holds the tokens x vocabulary logits.
struct LossOptions {
  RunOptions run;
  LossCase loss;
};

void describe(OptionTable& table, LossOptions& options);
/// Error when the two forms do not agree.
void run(const LossOptions& options);

}  // namespace evomoe::bench
