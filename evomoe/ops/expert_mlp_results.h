#pragma once

#include <torch/torch.h>

#include "evomoe/ops/expert_weights.h"

/// What the two halves of expert_mlp() give.
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

}  // namespace evomoe
