#pragma once

#include <torch/torch.h>

namespace evomoe {

/// Rounds a model's matrices to bfloat16, for evaluation: those of attention, feed-forward blocks,
/// experts and heads, and the tables of tokens and learned positions. They take half the memory,
/// and half the time where reading them is what takes it. What is computed with them stays float32,
/// as do norms, biases, routers, adaptive input and adaptive softmax. No parameter has a gradient
/// afterwards.
void keep_matrices_in_bfloat16(torch::nn::Module& model);

}  // namespace evomoe
