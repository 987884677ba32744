#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/kernels/cpu/activation.h"

namespace evomoe {

using kernels::Activation;

/// gelu | gelu_tanh | relu | silu (the same as swish); anything else is an Error.
Activation parse_activation(const std::string& name);

/// activation(x), on the graph.
torch::Tensor activate(const torch::Tensor& x, Activation activation);

/// The gradient of x from that of activation(x).
torch::Tensor activate_backward(const torch::Tensor& grad, const torch::Tensor& x,
                                Activation activation);

}  // namespace evomoe
