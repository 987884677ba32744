#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/kernels/cpu/activation.h"

/// Steps of expert_mlp on the rows of one expert, off the graph but for `activate`: fused kernels
/// for float32 on the CPU, plain tensor operations for everything else. All tensors are contiguous.
namespace evomoe {

using kernels::Activation;

/// gelu | gelu_tanh | relu; anything else is an Error.
Activation parse_activation(const std::string& name);

/// activation(x), on the graph.
torch::Tensor activate(const torch::Tensor& x, Activation activation);

/// out [N,D] = x[token_N].
void gather_rows(const torch::Tensor& x_TD, const torch::Tensor& token_N, torch::Tensor out_ND);

/// y[token[i]] += scale[i] * (x[i] + bias); undefined scale and bias are 1 and 0. No token twice.
void scatter_add_rows(const torch::Tensor& x_ND, const torch::Tensor& token_N,
                      const torch::Tensor& scale_N, const torch::Tensor& bias_D,
                      torch::Tensor& y_TD);

/// pre += bias (undefined: it holds it already); act = activation(pre).
void bias_activation(torch::Tensor pre_NH, const torch::Tensor& bias_H, torch::Tensor act_NH,
                     Activation activation);

/// grad_weight = <grad, act> by rows; then grad = weight * grad * activation'(pre), act = weight *
/// act.
void activation_backward(torch::Tensor grad_NH, const torch::Tensor& pre_NH, torch::Tensor act_NH,
                         const torch::Tensor& weight_N, torch::Tensor grad_weight_N,
                         Activation activation);

}  // namespace evomoe
