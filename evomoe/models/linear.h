#pragma once

#include <torch/torch.h>

#include "evomoe/ops/linear_layer.h"

namespace evomoe {

/// y = x weight^T + bias, x [..., in] -> [..., out]. Its values are set by initialise() of what it
/// is part of, or by a checkpoint; until then they are 0. (torch::nn::Linear would draw random
/// numbers first, which takes longer than reading a checkpoint.)
class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out, bool with_bias = true) {
    weight = register_parameter("weight", torch::zeros({out, in}));
    if (with_bias) bias = register_parameter("bias", torch::zeros({out}));
  }

  torch::Tensor forward(const torch::Tensor& x) { return linear_layer(x, weight, bias); }

  torch::Tensor weight, bias;
};
TORCH_MODULE(Linear);

}  // namespace evomoe
