#pragma once

#include "evomoe/bench/bench_options.h"

namespace evomoe::bench {

/// Sizes of what a router decides about.
struct RouterCase {
  int64_t tokens = 2048;
  int64_t dim = 512;
  int64_t experts = 8;
  int64_t topk = 2;  ///< of the method `topk`

  std::string label() const;
  void validate() const;
};

/// `evomoe bench router`: every routing method alone, gate to Routing, forward and backward.
struct RouterBenchOptions {
  RunOptions run;
  RouterCase router;
  std::string topk = "2";
  std::string method = "all";
};

void describe(OptionTable& table, RouterBenchOptions& options);
void run(const RouterBenchOptions& options);

}  // namespace evomoe::bench
