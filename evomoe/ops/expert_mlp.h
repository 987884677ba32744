#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "evomoe/base/philox.h"
#include "evomoe/ops/expert_weights.h"

namespace evomoe {

struct ExpertMlpOptions {
  std::string activation = "gelu";  ///< gelu (exact, erf) | gelu_tanh | relu | silu
  /// Of what w2 takes: after the activation and, in gated experts, the product with x w3^T.
  double activation_dropout = 0.0;
  double dropout = 0.0;  ///< of an expert's output, before its combine weight
  /// Make the pre-activations (and x w3^T) again in the backward pass: saves A x H, or 2 A x H.
  bool recompute = false;
  NoiseKey noise;  ///< of the dropouts, with the layer; the sites are set here
  /// int64 [T], what keys the dropout of each row of x; undefined: the row's number. On the CPU
  /// alone.
  torch::Tensor noise_token_T;
  int64_t first_expert = 0;  ///< the number of the first expert among all of the layer
};

/// The feed-forward blocks of all experts on the tokens assigned to them:
///   y[t] = sum over assignments a of token t: weight[a] * (act(x[t] w1^T + b1) w2^T + b2).
/// Experts that have w3 are gated, SwiGLU with the activation silu and GEGLU with gelu:
///   (act(x[t] w1^T + b1) * (x[t] w3^T)) w2^T + b2.
/// x_TD [T,D]; token_A int64 [A], ascending within an expert; weight_A [A]; offset_E1 int64 [E+1]
/// on the CPU (assignments of expert e are [offset[e], offset[e+1])); b1, b2 and w3 may be
/// undefined. Returns y_TD; a token without an assignment gets zeros. Nothing is computed for pairs
/// that are not assigned; empty experts and A = 0 are normal, and their gradients are zeros.
///
/// The backward pass keeps neither expert outputs nor gathered rows: the gradient of a combine
/// weight is <grad_y w2, act> + <grad_y, b2>. It cannot be differentiated again.
/// Float32 on the CPU uses fused kernels, and so do float32 and bfloat16 on a CUDA device where the
/// program has them (docs/gpu.md); any other floating type or device plain tensor operations.
/// In evaluation w1, w2 and w3 may be bfloat16 beside a float32 x, as linear_layer() takes them.
/// `output_sum_ED`, unless it is null, receives the sum of each expert's outputs over its
/// assignments, without combine weights, dropout and gradient, at little cost: it is made of the
/// sum of the activations. Errors: shapes, types or devices that do not fit, offsets or tokens out
/// of range, an unknown activation.
torch::Tensor expert_mlp(const torch::Tensor& x_TD, const torch::Tensor& token_A,
                         const torch::Tensor& weight_A, const torch::Tensor& offset_E1,
                         const ExpertWeights& weights, const ExpertMlpOptions& options,
                         torch::Tensor* output_sum_ED = nullptr);

/// A dense feed-forward block: one expert that has every token, with weight 1. x [..., D] ->
/// [..., D]; the weights are those of a layer with E = 1. Its dropouts have sites of their own.
torch::Tensor feed_forward(const torch::Tensor& x, const ExpertWeights& weights,
                           const ExpertMlpOptions& options);

}  // namespace evomoe
