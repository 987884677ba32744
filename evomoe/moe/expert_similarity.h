#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "evomoe/parallel/communicator.h"

namespace evomoe {

/// Cosines between the weights of two experts, over all pairs of experts of a layer: 1: they are
/// equal, as the copies of one expert are before they are diversified.
struct ExpertSimilarity {
  double mean = 0, least = 0, most = 0;
};

/// What this rank brings of one matrix of a layer's experts. The matrices of its experts, from
/// `first_expert` on, lie one after the other; `own` has their elements from `begin` on.
struct ExpertElements {
  torch::Tensor own;      ///< [N], may be empty
  int64_t of_expert = 0;  ///< elements of an expert's matrix
  int64_t first_expert = 0;
  int64_t begin = 0;
};

/// Of the `experts` of a layer, of whose matrices the ranks together bring each element once, in
/// the same order of the matrices; off the graph. Of large experts only a part of the elements is
/// looked at, evenly spread, so that it takes milliseconds. All ranks call it. Nothing of fewer
/// than two experts.
std::optional<ExpertSimilarity> similarity_of_experts(int64_t experts,
                                                      const std::vector<ExpertElements>& matrices,
                                                      Communicator& ranks);

}  // namespace evomoe
