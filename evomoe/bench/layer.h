#pragma once

#include <map>
#include <string>

#include "evomoe/bench/bench_options.h"
#include "evomoe/bench/layer_case.h"

namespace evomoe::bench {

/// `evomoe bench layer`: forward and backward of one MoE layer, its router included.
struct LayerOptions {
  RunOptions run;
  LayerCase layer;
  std::string topk = "1";  ///< a number, or E for all experts
  bool debug_balanced_routing = false;
};

void describe(OptionTable& table, LayerOptions& options);
void run(const LayerOptions& options);

/// One forward and backward pass; checksums of the output and of the gradients (loss, grad_x,
/// grad_router, and grad_w1 ... of the weights that the experts have).
std::map<std::string, double> layer_checksums(const LayerCase& layer);

}  // namespace evomoe::bench
