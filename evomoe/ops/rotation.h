#pragma once

#include <torch/torch.h>

namespace evomoe {

/// Heads turned by rotary positions (arXiv 2104.09864): x_BSHD [B,S,H,D] with the cosine and sine
/// [B,S,1,D/2] of each token's angles, where B may be 1; numbers j and j + D/2 of a head are a
/// pair. All of one floating type; the angles get no gradient.
torch::Tensor rotate_heads(const torch::Tensor& x_BSHD, const torch::Tensor& cosine_BS1C,
                           const torch::Tensor& sine_BS1C);

}  // namespace evomoe
