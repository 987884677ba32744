#pragma once

#include <torch/torch.h>

#include "evomoe/ops/expert_mlp_plan.h"
#include "evomoe/ops/expert_mlp_results.h"
#include "evomoe/ops/expert_weights.h"

/// The two halves of expert_mlp() for tensors that a plan was made of, which has checked them. They
/// choose who computes: the kernels for CUDA devices, those for the CPU, or plain tensor
/// operations.
namespace evomoe {

/// Whether each expert's own numbers are contiguous, and experts do not overlap.
bool has_dense_experts(const torch::Tensor& all);

/// Weights as both passes take them: each expert's own numbers without gaps.
ExpertWeights dense_experts(const ExpertWeights& weights);

/// Tensors are contiguous, the weights dense_experts(). `act_sum_EH`: null, or zeros that receive
/// each expert's sum of activations.
ExpertMlpOutput forward_of_plan(const torch::Tensor& x_TD, const torch::Tensor& weight_A,
                                const ExpertWeights& weights, const torch::Tensor& token_A,
                                const ExpertMlpPlan& plan, bool keep_hidden,
                                const torch::Tensor* act_sum_EH);

/// `into` and `of_weights` are those of expert_mlp_backward().
ExpertMlpGradients backward_of_plan(const torch::Tensor& x_TD, const torch::Tensor& weight_A,
                                    const ExpertWeights& weights, const torch::Tensor& token_A,
                                    const ExpertMlpPlan& plan, const ExpertMlpHidden& hidden,
                                    const torch::Tensor& grad_y_TD, const ExpertWeights& into,
                                    bool of_weights);

}  // namespace evomoe
