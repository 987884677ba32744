#pragma once

#include <torch/torch.h>

#include <functional>

namespace evomoe {

/// Runs `forward(inputs, recomputing)` without keeping what its backward pass needs, and runs it
/// again in the backward pass (Chen et al., arXiv 1604.06174). `forward` returns tensors that
/// depend on the inputs and on parameters; its noise must be counter-based, and it must leave
/// statistics alone when `recomputing`. One of the inputs must require grad.
torch::autograd::variable_list checkpoint_activations(
    const torch::autograd::variable_list& inputs,
    std::function<torch::autograd::variable_list(const torch::autograd::variable_list& inputs,
                                                 bool recomputing)>
        forward);

}  // namespace evomoe
