#pragma once

#include <torch/torch.h>

#include "evomoe/routing/routing.h"

namespace evomoe {

/// The z-loss of ST-MoE (arXiv 2202.08906): the mean over valid tokens of logsumexp(logits)^2; 0
/// without valid tokens. `logits_TE` [T,E] on the graph, `valid_T` bool [T] or undefined (all
/// valid).
RouterLoss z_loss(const torch::Tensor& logits_TE, const torch::Tensor& valid_T);

}  // namespace evomoe
