#include "evomoe/models/feed_forward.h"

#include "evomoe/models/initialisation.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {

FeedForward::FeedForward(const FeedForwardOptions& options, torch::nn::Module& owner)
    : options_(options), activation_(parse_activation(options.activation)) {
  fc1_ = owner.register_module("fc1", torch::nn::Linear(options.embed_dim, options.hidden_dim));
  fc2_ = owner.register_module("fc2", torch::nn::Linear(options.hidden_dim, options.embed_dim));
}

torch::Tensor FeedForward::forward(const torch::Tensor& x_BSD, const ForwardContext& context) {
  const auto layer = static_cast<uint32_t>(options_.layer);
  auto hidden = activate(fc1_->forward(x_BSD), activation_);
  if (context.training) {
    hidden = philox_dropout(hidden, options_.activation_dropout,
                            context.noise.at(layer, NoiseSite::kActivationDropout));
  }
  auto y = fc2_->forward(hidden);
  if (context.training) {
    y = philox_dropout(y, options_.dropout,
                       context.noise.at(layer, NoiseSite::kFeedForwardDropout));
  }
  return y;
}

void FeedForward::initialise(uint64_t seed, const std::string& owner_name) {
  init_linear(fc1_, seed, owner_name + ".fc1");
  init_linear(fc2_, seed, owner_name + ".fc2");
}

}  // namespace evomoe
