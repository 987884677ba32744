#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/models/forward_context.h"

namespace evomoe {

struct FeedForwardOptions {
  int64_t embed_dim = 512;
  int64_t hidden_dim = 2048;
  std::string activation = "relu";
  double activation_dropout = 0.0;
  double dropout = 0.0;
  int64_t layer = 0;
};

/// A dense feed-forward block: fc1, activation, dropout, fc2, dropout. Its two Linears are
/// registered on the block that owns it
/// ("fc1", "fc2"), where the reference has them.
class FeedForward {
 public:
  FeedForward(const FeedForwardOptions& options, torch::nn::Module& owner);
  torch::Tensor forward(const torch::Tensor& x_BSD, const ForwardContext& context);
  void initialise(uint64_t seed, const std::string& owner_name);

 private:
  FeedForwardOptions options_;
  torch::nn::Linear fc1_{nullptr}, fc2_{nullptr};
};

}  // namespace evomoe
