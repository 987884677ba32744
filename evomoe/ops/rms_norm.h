#pragma once

#include <torch/torch.h>

namespace evomoe {

/// x / sqrt(mean of x^2 over the last axis + eps) * weight (arXiv 1910.07467), in one pass over x
/// where it is float32 on the CPU. x [..., D] and weight_D [D] of one floating type.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight_D, double eps);

}  // namespace evomoe
