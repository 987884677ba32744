#pragma once

#include <torch/torch.h>

#include <optional>

#include "evomoe/routing/routing.h"

namespace evomoe {

/// Entropy (nats) of each row, with probabilities clamped to [eps, 1-eps] inside the logarithm as
/// torch's Categorical does: a zero contributes zero. Off the graph. [T]
torch::Tensor entropy_T(const torch::Tensor& probability_TE);

/// Its mean over all rows; 0 of none.
torch::Tensor mean_entropy(const torch::Tensor& probability_TE);

/// Fills routing.stats, but for its reference metrics, from what was selected before drops. Counts
/// are over valid tokens. `selected_TE` bool [T,E]; `probability_TE` the softmax of the logits;
/// `valid_T` bool [T] or undefined (all valid).
void record_stats(Routing& routing, const torch::Tensor& selected_TE,
                  const torch::Tensor& probability_TE, const torch::Tensor& valid_T);

/// Experts per real token over all these layers, before drops; nothing without tokens.
std::optional<double> mean_experts_per_token(const LayerStats& layers);

}  // namespace evomoe
