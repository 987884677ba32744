#pragma once

#include <torch/torch.h>

namespace evomoe {

/// The layer norm of every model here: affine, eps 1e-5 (docs/reference.md section 7.5).
inline torch::nn::LayerNorm layer_norm(int64_t dim) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim}).eps(1e-5));
}

}  // namespace evomoe
