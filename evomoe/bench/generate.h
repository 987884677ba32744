#pragma once

#include "evomoe/bench/model_case.h"

namespace evomoe::bench {

/// `evomoe bench generate`: greedy generation with a key-value cache, one text at a time.
struct GenerateBenchOptions {
  RunOptions run;
  ModelFlags model;
  int64_t prompt_len = 16;
  int64_t new_tokens = 64;
};

void describe(OptionTable& table, GenerateBenchOptions& options);
void run(const GenerateBenchOptions& options);

}  // namespace evomoe::bench
