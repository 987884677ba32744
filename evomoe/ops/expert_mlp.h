#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "evomoe/base/philox.h"

namespace evomoe {

struct ExpertMlpOptions {
  std::string activation = "gelu";  ///< gelu (exact, erf) | gelu_tanh | relu
  double activation_dropout = 0.0;  ///< after the activation
  double dropout = 0.0;             ///< of an expert's output, before its combine weight
  bool recompute = false;  ///< make the pre-activations again in the backward pass: saves A x H
  NoiseKey noise;          ///< of the dropouts, with the layer; the sites are set here
};

/// The feed-forward blocks of all experts on the tokens assigned to them:
///   y[t] = sum over assignments a of token t: weight[a] * (act(x[t] w1^T + b1) w2^T + b2).
/// x_TD [T,D]; token_A int64 [A], ascending within an expert; weight_A [A]; offset_E1 int64 [E+1]
/// on the CPU (assignments of expert e are [offset[e], offset[e+1])); w1_EHD, b1_EH, w2_EDH, b2_ED.
/// Returns y_TD; a token without an assignment gets zeros. Nothing is computed for pairs that are
/// not assigned; empty experts and A = 0 are normal, and their gradients are zeros.
///
/// The backward pass keeps neither expert outputs nor gathered rows: the gradient of a combine
/// weight is <grad_y w2, act> + <grad_y, b2>. It cannot be differentiated again.
/// Float32 on the CPU uses fused kernels, and so do float32 and bfloat16 on a CUDA device where the
/// program has them (docs/gpu.md); any other floating type or device plain tensor operations.
/// Errors: shapes, types or devices that do not fit, offsets or tokens out of range, an
/// unknown activation.
torch::Tensor expert_mlp(const torch::Tensor& x_TD, const torch::Tensor& token_A,
                         const torch::Tensor& weight_A, const torch::Tensor& offset_E1,
                         const torch::Tensor& w1_EHD, const torch::Tensor& b1_EH,
                         const torch::Tensor& w2_EDH, const torch::Tensor& b2_ED,
                         const ExpertMlpOptions& options);

/// A dense feed-forward block: one expert that has every token, with weight 1. x [..., D]; w1
/// [H,D], b1 [H], w2 [D,H], b2 [D] -> [..., D]. Its dropouts have sites of their own.
torch::Tensor feed_forward(const torch::Tensor& x, const torch::Tensor& w1_HD,
                           const torch::Tensor& b1_H, const torch::Tensor& w2_DH,
                           const torch::Tensor& b2_D, const ExpertMlpOptions& options);

}  // namespace evomoe
