#pragma once

#include <torch/torch.h>

#include <functional>

namespace evomoe {

/// Runs `forward(x, recomputing)` without keeping what its backward pass needs, and runs it again
/// in the backward pass (Chen et al., arXiv 1604.06174). `forward` returns tensors that depend on x
/// and on parameters; its noise must be counter-based, and it must leave statistics alone when
/// `recomputing`. x must require grad.
torch::autograd::variable_list checkpoint_activations(
    const torch::Tensor& x,
    std::function<torch::autograd::variable_list(const torch::Tensor& x, bool recomputing)>
        forward);

}  // namespace evomoe
