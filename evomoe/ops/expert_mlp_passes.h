#pragma once

#include <torch/torch.h>

#include "evomoe/ops/expert_mlp.h"
#include "evomoe/ops/expert_mlp_plan.h"
#include "evomoe/ops/expert_weights.h"

/// The two halves of expert_mlp() without autograd.
namespace evomoe {

/// What the backward pass reads of the forward pass; what is undefined is made again.
struct ExpertMlpHidden {
  torch::Tensor pre_AH;     ///< [A,H], pre-activations
  torch::Tensor factor_AH;  ///< [A,H], x w3^T of gated experts
};

struct ExpertMlpOutput {
  torch::Tensor y_TD;
  ExpertMlpHidden hidden;  ///< undefined: not kept
};

struct ExpertMlpGradients {
  torch::Tensor x_TD, weight_A;
  ExpertWeights weights;  ///< defined where the weights are, or undefined
};

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

/// Weights as both passes take them: each expert's own numbers without gaps.
ExpertWeights dense_experts(const ExpertWeights& weights);

/// The same two for tensors that a plan was made of: contiguous, the weights dense_experts().
/// `act_sum_EH`: null, or zeros that receive each expert's sum of activations.
ExpertMlpOutput forward_pass(const torch::Tensor& x_TD, const torch::Tensor& weight_A,
                             const ExpertWeights& weights, const torch::Tensor& token_A,
                             const ExpertMlpPlan& plan, bool keep_hidden,
                             const torch::Tensor* act_sum_EH);
ExpertMlpGradients backward_pass(const torch::Tensor& x_TD, const torch::Tensor& weight_A,
                                 const ExpertWeights& weights, const torch::Tensor& token_A,
                                 const ExpertMlpPlan& plan, const ExpertMlpHidden& hidden,
                                 const torch::Tensor& grad_y_TD, const ExpertWeights& into,
                                 bool of_weights);

}  // namespace evomoe
