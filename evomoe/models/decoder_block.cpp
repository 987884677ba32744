#include "evomoe/models/decoder_block.h"

#include "evomoe/models/initialisation.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

torch::nn::LayerNorm layer_norm(int64_t dim) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim}).eps(1e-5));
}

}  // namespace

DecoderBlockImpl::DecoderBlockImpl(const DecoderBlockOptions& options) : options_(options) {
  const auto dim = options.attention.embed_dim;
  self_attn_ = register_module("self_attn", SelfAttention(options.attention));
  self_attn_layer_norm_ = register_module("self_attn_layer_norm", layer_norm(dim));
  if (options.moe) {
    moe_layer_ = register_module("moe_layer", MoELayer(*options.moe));
  } else {
    feed_forward_.emplace(options.feed_forward, *this);
  }
  final_layer_norm_ = register_module("final_layer_norm", layer_norm(dim));
}

BlockOutput DecoderBlockImpl::forward(const torch::Tensor& x_BSD, const ForwardContext& context) {
  auto attended = self_attn_->forward(self_attn_layer_norm_->forward(x_BSD), context);
  if (context.training) {
    attended = philox_dropout(attended, options_.dropout,
                              context.noise.at(static_cast<uint32_t>(options_.layer),
                                               NoiseSite::kAttentionOutputDropout));
  }
  const auto x = x_BSD + attended;
  const auto normed = final_layer_norm_->forward(x);
  if (!moe_layer_) return {x + feed_forward_->forward(normed, context), {}, std::nullopt};

  RoutingContext routing;
  routing.training = context.training || context.route_as_trained;
  routing.without_dropout = !context.training;
  routing.token_id_T = context.token_id_T;
  routing.noise = context.noise;
  routing.noise.layer = static_cast<uint32_t>(options_.layer);
  routing.communicator = context.communicator;
  if (context.padding_BS.defined()) {
    routing.valid_T = context.padding_BS.logical_not().flatten();
    if (!context.mask_padding_in_moe) routing.routed_T = torch::ones_like(routing.valid_T);
  }
  if (context.gate_gumbel) routing.gumbel_TE = context.gate_gumbel(options_.layer);
  auto moe = moe_layer_->forward(normed, routing, context.padded_batch);
  return {x + moe.y_BSD, std::move(moe.losses), std::move(moe.stats)};
}

void DecoderBlockImpl::initialise(uint64_t seed, const std::string& name) {
  self_attn_->initialise(seed, name + ".self_attn");
  if (feed_forward_) feed_forward_->initialise(seed, name);
  if (moe_layer_) moe_layer_->initialise(seed);
}

}  // namespace evomoe
