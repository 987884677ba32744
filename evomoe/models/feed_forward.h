#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/base/expert_weights.h"
#include "evomoe/models/forward_context.h"
#include "evomoe/models/linear.h"

namespace evomoe {

struct FeedForwardOptions {
  int64_t embed_dim = 512;
  int64_t hidden_dim = 2048;
  std::string activation = "relu";
  bool gated = false;  ///< fc1's activation is multiplied by fc3: SwiGLU with silu, GEGLU with gelu
  bool biases = true;  ///< of fc1 and fc2
  double activation_dropout = 0.0;
  double dropout = 0.0;
  int64_t layer = 0;
};

/// The weights of a dense block by the names that they have on the Transformer block.
inline constexpr ExpertWeightsOf<const char*> kDenseWeightNames = {.w1_EHD = "fc1.weight",
                                                                   .b1_EH = "fc1.bias",
                                                                   .w2_EDH = "fc2.weight",
                                                                   .b2_ED = "fc2.bias",
                                                                   .w3_EHD = "fc3.weight"};

/// A dense feed-forward block: fc1, activation, dropout, fc2, dropout. Its Linears are registered
/// on the block that owns it ("fc1", "fc2", and "fc3" when it is gated), where the reference has
/// them.
class FeedForward {
 public:
  FeedForward(const FeedForwardOptions& options, torch::nn::Module& owner);
  torch::Tensor forward(const torch::Tensor& x_BSD, const ForwardContext& context);
  void initialise(uint64_t seed, const std::string& owner_name);

 private:
  FeedForwardOptions options_;
  Linear fc1_{nullptr}, fc2_{nullptr}, fc3_{nullptr};
};

}  // namespace evomoe
