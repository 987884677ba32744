#include "evomoe/models/feed_forward.h"

#include <ATen/record_function.h>

#include "evomoe/models/initialisation.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/expert_mlp.h"

namespace evomoe {

FeedForward::FeedForward(const FeedForwardOptions& options, torch::nn::Module& owner)
    : options_(options) {
  parse_activation(options.activation);
  const auto add = [&](const char* name, int64_t in, int64_t out, bool bias) {
    return owner.register_module(name, Linear(in, out, bias));
  };
  fc1_ = add("fc1", options.embed_dim, options.hidden_dim, options.biases);
  fc2_ = add("fc2", options.hidden_dim, options.embed_dim, options.biases);
  if (options.gated) fc3_ = add("fc3", options.embed_dim, options.hidden_dim, /*bias=*/false);
}

torch::Tensor FeedForward::forward(const torch::Tensor& x_BSD, const ForwardContext& context) {
  RECORD_USER_SCOPE("feed-forward");
  ExpertMlpOptions mlp;
  mlp.activation = options_.activation;
  mlp.activation_dropout = context.training ? options_.activation_dropout : 0.0;
  mlp.dropout = context.training ? options_.dropout : 0.0;
  mlp.noise = context.noise;
  mlp.noise.layer = static_cast<uint32_t>(options_.layer);
  const auto one = [](const torch::Tensor& of_one) {
    return of_one.defined() ? of_one.unsqueeze(0) : torch::Tensor();
  };
  return feed_forward(x_BSD,
                      {.w1_EHD = one(fc1_->weight),
                       .b1_EH = one(fc1_->bias),
                       .w2_EDH = one(fc2_->weight),
                       .b2_ED = one(fc2_->bias),
                       .w3_EHD = fc3_ ? one(fc3_->weight) : torch::Tensor()},
                      mlp);
}

void FeedForward::initialise(uint64_t seed, const std::string& owner_name) {
  init_linear(fc1_, seed, owner_name + ".fc1");
  init_linear(fc2_, seed, owner_name + ".fc2");
  if (fc3_) init_linear(fc3_, seed, owner_name + ".fc3");
}

}  // namespace evomoe
