#pragma once

#include <optional>

#include "evomoe/ops/expert_weights.h"

namespace evomoe {

/// Cosines between the weights of two experts, over all pairs of experts of a layer: 1: they are
/// equal, as the copies of one expert are before they are diversified.
struct ExpertSimilarity {
  double mean = 0, least = 0, most = 0;
};

/// Of the matrices, not of the biases; off the graph. Of large experts only a part of the elements
/// is looked at, evenly spread, so that it takes milliseconds. Nothing of fewer than two experts.
std::optional<ExpertSimilarity> similarity_of_experts(const ExpertWeights& weights);

}  // namespace evomoe
