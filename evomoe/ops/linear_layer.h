#pragma once

#include <torch/torch.h>

namespace evomoe {

/// x weight^T + bias, as torch::linear: x [..., in], weight [out, in], bias [out] or undefined. In
/// evaluation the weight may be bfloat16 beside a float32 x; it is then widened, so that all is
/// computed in float32. On the CPU few rows read it as it is: half the memory, which is what they
/// wait for.
torch::Tensor linear_layer(const torch::Tensor& x, const torch::Tensor& weight,
                           const torch::Tensor& bias = {});

/// A weight as what computes with x needs it: itself, or its bfloat16 widened to x's type.
torch::Tensor widened(const torch::Tensor& weight, const torch::Tensor& x);

}  // namespace evomoe
