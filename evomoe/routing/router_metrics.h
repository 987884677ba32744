#pragma once

#include <cstdint>
#include <vector>

#include "evomoe/routing/routing.h"

namespace evomoe {

/// The health of a router, from statistics summed over micro-batches and ranks; plain numbers for
/// logs and reports. Load is counted before drops and over real tokens. Shares of nothing are 0.
struct RouterMetrics {
  int64_t tokens = 0;
  std::vector<int64_t> load_E;  ///< assignments per expert
  int64_t load_min = 0, load_max = 0;
  double load_cv = 0;           ///< population standard deviation / mean
  double max_violation = 0;     ///< (max - mean) / mean (DeepSeek's MaxVio); 0: balanced
  int64_t dead_experts = 0;     ///< experts without an assignment
  double token_entropy = 0;     ///< mean entropy of the gate probabilities, nats
  double mean_active = 0;       ///< experts per token
  double dropped_share = 0;     ///< assignments dropped by capacity / assignments
  double unrouted_share = 0;    ///< tokens that selected no expert / tokens
  double non_argmax_share = 0;  ///< tokens whose one expert is not the most probable / tokens
};

/// Error: statistics without load_E (of no forward pass).
RouterMetrics router_metrics(const RouterStats& stats);

}  // namespace evomoe
