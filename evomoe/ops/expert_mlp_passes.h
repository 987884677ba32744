#pragma once

#include <torch/torch.h>

#include "evomoe/ops/expert_mlp.h"
#include "evomoe/ops/expert_weights.h"

/// The two halves of expert_mlp() without autograd, for a caller that has its own: PyTorch's
/// operators (python/). Tensors, options and errors are those of expert_mlp(). Weights may be parts
/// of larger tensors, as the halves of Hugging Face's gate_up_proj [E,2H,D] are: on the CPU they
/// are read in place if each expert's own numbers are contiguous.
namespace evomoe {

struct ExpertMlpOutput {
  torch::Tensor y_TD;
  /// For the backward pass, [A,H]: pre-activations, and x w3^T of gated experts. Undefined: not
  /// kept.
  torch::Tensor pre_AH, factor_AH;
};

ExpertMlpOutput expert_mlp_forward(const torch::Tensor& x_TD, const torch::Tensor& token_A,
                                   const torch::Tensor& weight_A, const torch::Tensor& offset_E1,
                                   const ExpertWeights& weights, const ExpertMlpOptions& options,
                                   bool keep_hidden);

struct ExpertMlpGradients {
  torch::Tensor x_TD, weight_A;
  ExpertWeights weights;  ///< defined where the weights are, or undefined
};

/// `forward` is what the forward pass has kept; what is undefined of it is made again. The
/// gradients of weights go into those of `into` that are defined, which have the shapes of the
/// weights, and into new tensors else. Without `of_weights` there are none: frozen experts.
ExpertMlpGradients expert_mlp_backward(const torch::Tensor& x_TD, const torch::Tensor& token_A,
                                       const torch::Tensor& weight_A,
                                       const torch::Tensor& offset_E1, const ExpertWeights& weights,
                                       const ExpertMlpOptions& options,
                                       const ExpertMlpOutput& forward,
                                       const torch::Tensor& grad_y_TD,
                                       const ExpertWeights& into = {}, bool of_weights = true);

}  // namespace evomoe
