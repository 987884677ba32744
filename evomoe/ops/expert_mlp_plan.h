#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "evomoe/base/philox.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/expert_mlp.h"
#include "evomoe/ops/expert_weights.h"

namespace evomoe {

/// What forward and backward pass of expert_mlp() share: who goes where, and how dropout is keyed.
struct ExpertMlpPlan {
  std::vector<int64_t> offset_E1;
  ExpertWeightsOf<bool> has;  ///< the weights that the experts have
  Activation activation = Activation::kGelu;
  double activation_dropout = 0, dropout = 0;
  bool recompute = false;
  NoiseKey activation_key, output_key;
  torch::Tensor noise_token_A;  ///< undefined: the token
  int64_t first_expert = 0;

  int64_t num_experts() const { return static_cast<int64_t>(offset_E1.size()) - 1; }
  int64_t begin(int64_t expert) const { return offset_E1[static_cast<size_t>(expert)]; }
  int64_t end(int64_t expert) const { return offset_E1[static_cast<size_t>(expert) + 1]; }
};

/// What expert_mlp() is asked for; its errors. `token_A` is contiguous.
ExpertMlpPlan expert_mlp_plan(const torch::Tensor& x_TD, const torch::Tensor& token_A,
                              const torch::Tensor& weight_A, const torch::Tensor& offset_E1,
                              const ExpertWeights& weights, const ExpertMlpOptions& options);

/// The same of feed_forward(): one expert that has every row of x_TD.
ExpertMlpPlan feed_forward_plan(const torch::Tensor& x_TD, const torch::Tensor& token_A,
                                const torch::Tensor& weight_A, const ExpertWeights& weights,
                                const ExpertMlpOptions& options);

}  // namespace evomoe
