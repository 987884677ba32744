#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/plan/machine.h"
#include "evomoe/plan/workload.h"

namespace evomoe {

/// How ranks divide a run (docs/parallel.md).
struct Layout {
  int64_t ranks = 1;
  int64_t expert_ranks = 1;  ///< --expert-parallel-size
  int64_t zero_stage = 0;

  bool operator==(const Layout&) const = default;
};

/// All that the program can do with so many ranks.
std::vector<Layout> layouts_of(int64_t ranks, int64_t experts, bool element_wise_optimizer);

/// What a rank has to do in an update, and what it takes on a machine.
struct LayoutCost {
  Layout layout;
  double memory = 0;          ///< bytes of a rank
  double gradient_bytes = 0;  ///< sent by a rank: sums of gradients, gathered parameters
  double token_bytes = 0;     ///< sent by a rank: rows to experts and back
  double compute_seconds = 0;
  double update_seconds = 0;  ///< of the optimiser
  double wait_seconds = 0;    ///< for messages, beyond what computing hides
  bool fits = true;           ///< into the machine's memory

  double bytes() const { return gradient_bytes + token_bytes; }
  double seconds() const { return compute_seconds + update_seconds + wait_seconds; }
};

/// Sums and gathers go round a ring: a rank sends (P-1)/P of the bytes for each of the two halves
/// of a sum, and for a gather. Loads of experts are even, and each rank computes as fast as the
/// others.
LayoutCost cost_of(const Layout& layout, const Workload& work, const Machine& machine);

/// Those that fit first, the fastest of them first; of equals the one with less memory.
std::vector<LayoutCost> ranked(std::vector<LayoutCost> costs);

/// Of P ranks that share E experts, how many a token with k of them visits beside its own, on
/// average, when all choices are equally likely.
double ranks_visited(int64_t ranks, int64_t experts, double active);

}  // namespace evomoe
