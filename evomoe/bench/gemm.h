#pragma once

#include "evomoe/bench/layer_case.h"

namespace evomoe::bench {

/// `evomoe bench gemm`: the six matrix products of an MoE layer's experts, each by itself, as the
/// library computes them one expert after the other: what a loop over experts can reach.
struct GemmOptions {
  RunOptions run;
  LayerCase layer;
  std::string topk = "1";
};

void describe(OptionTable& table, GemmOptions& options);
void run(const GemmOptions& options);

}  // namespace evomoe::bench
