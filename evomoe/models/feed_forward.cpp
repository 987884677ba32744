#include "evomoe/models/feed_forward.h"

#include <ATen/record_function.h>

#include "evomoe/models/initialisation.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/expert_mlp.h"

namespace evomoe {

FeedForward::FeedForward(const FeedForwardOptions& options, torch::nn::Module& owner)
    : options_(options) {
  parse_activation(options.activation);
  fc1_ = owner.register_module("fc1", torch::nn::Linear(options.embed_dim, options.hidden_dim));
  fc2_ = owner.register_module("fc2", torch::nn::Linear(options.hidden_dim, options.embed_dim));
}

torch::Tensor FeedForward::forward(const torch::Tensor& x_BSD, const ForwardContext& context) {
  RECORD_USER_SCOPE("feed-forward");
  ExpertMlpOptions mlp;
  mlp.activation = options_.activation;
  mlp.activation_dropout = context.training ? options_.activation_dropout : 0.0;
  mlp.dropout = context.training ? options_.dropout : 0.0;
  mlp.noise = context.noise;
  mlp.noise.layer = static_cast<uint32_t>(options_.layer);
  const auto one = [](const torch::Tensor& of_one) { return of_one.unsqueeze(0); };
  return feed_forward(x_BSD,
                      {.w1_EHD = one(fc1_->weight),
                       .b1_EH = one(fc1_->bias),
                       .w2_EDH = one(fc2_->weight),
                       .b2_ED = one(fc2_->bias)},
                      mlp);
}

void FeedForward::initialise(uint64_t seed, const std::string& owner_name) {
  init_linear(fc1_, seed, owner_name + ".fc1");
  init_linear(fc2_, seed, owner_name + ".fc2");
}

}  // namespace evomoe
