#pragma once

#include <torch/torch.h>

#include "evomoe/ops/expert_mlp.h"
#include "evomoe/ops/expert_mlp_results.h"
#include "evomoe/ops/expert_weights.h"

/// The two halves of expert_mlp() without autograd, with its checks.
namespace evomoe {

/// For a caller that has an autograd of its own: PyTorch's operators (python/). Tensors, options
/// and errors are those of expert_mlp(), but `keep_hidden` alone says what is kept. Weights may be
/// parts of larger tensors, as the halves of Hugging Face's gate_up_proj [E,2H,D] are: on the CPU
/// they are read in place if each expert's own numbers are contiguous, on other devices they are
/// copied.
ExpertMlpOutput expert_mlp_forward(const torch::Tensor& x_TD, const torch::Tensor& token_A,
                                   const torch::Tensor& weight_A, const torch::Tensor& offset_E1,
                                   const ExpertWeights& weights, const ExpertMlpOptions& options,
                                   bool keep_hidden);

/// The gradients of weights go into those of `into` that are defined, which are like the weights
/// (each expert's own numbers contiguous), and into new tensors else. Without `of_weights` none are
/// computed: frozen experts.
ExpertMlpGradients expert_mlp_backward(const torch::Tensor& x_TD, const torch::Tensor& token_A,
                                       const torch::Tensor& weight_A,
                                       const torch::Tensor& offset_E1, const ExpertWeights& weights,
                                       const ExpertMlpOptions& options,
                                       const ExpertMlpHidden& hidden,
                                       const torch::Tensor& grad_y_TD,
                                       const ExpertWeights& into = {}, bool of_weights = true);

}  // namespace evomoe
