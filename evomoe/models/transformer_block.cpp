#include "evomoe/models/transformer_block.h"

#include "evomoe/models/initialisation.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

/// What the MoE layer of a block is told.
RoutingContext routing_context(const ForwardContext& context, int64_t layer) {
  RoutingContext routing;
  routing.training = context.training || context.route_as_trained;
  routing.without_dropout = !context.training;
  routing.token_id_T = context.token_id_T;
  routing.schedule = context.schedule;
  routing.noise = context.noise;
  routing.communicator = context.communicator;
  routing.stands_in = context.stands_in;
  if (context.padding_BS.defined()) {
    routing.valid_T = context.padding_BS.logical_not().flatten();
    if (!context.mask_padding_in_moe) routing.routed_T = torch::ones_like(routing.valid_T);
  }
  if (context.gate_gumbel) routing.gumbel_TE = context.gate_gumbel(layer);
  return routing;
}

}  // namespace

TransformerBlockImpl::TransformerBlockImpl(const TransformerBlockOptions& options)
    : options_(options) {
  const auto dim = options.attention.embed_dim;
  self_attn_ = register_module("self_attn", Attention(options.attention));
  self_attn_layer_norm_ = register_module("self_attn_layer_norm", Norm(dim, options.norm));
  if (options.cross_attention) {
    auto cross = options.attention;
    cross.cross = true;
    encoder_attn_ = register_module("encoder_attn", Attention(cross));
    encoder_attn_layer_norm_ = register_module("encoder_attn_layer_norm", Norm(dim, options.norm));
  }
  if (options.moe) moe_layer_ = register_module("moe_layer", MoELayer(*options.moe));
  if (!options.moe || options.feed_forward.hidden_dim > 0)
    feed_forward_.emplace(options.feed_forward, *this);
  final_layer_norm_ = register_module("final_layer_norm", Norm(dim, options.norm));
}

torch::Tensor TransformerBlockImpl::attended(const torch::Tensor& x_BSD, Attention& attention,
                                             Norm& norm, const ForwardContext& context,
                                             const Memory* memory) {
  auto y = attention->forward(options_.norm_first ? norm->forward(x_BSD) : x_BSD, context, memory);
  if (context.training) {
    const auto site = memory != nullptr ? NoiseSite::kCrossAttentionOutputDropout
                                        : NoiseSite::kAttentionOutputDropout;
    y = philox_dropout(y, options_.dropout,
                       context.noise.at(static_cast<uint32_t>(options_.layer), site));
  }
  y = x_BSD + y;
  return options_.norm_first ? y : norm->forward(y);
}

BlockOutput TransformerBlockImpl::forward(const torch::Tensor& x_BSD, const ForwardContext& context,
                                          const Memory* memory) {
  if (watcher_ == nullptr) return compute(x_BSD, context, memory);
  watcher_->before_forward();
  auto output = compute(x_BSD, context, memory);
  if (output.x_BSD.requires_grad())
    output.x_BSD.register_hook(
        [watcher = watcher_](const torch::Tensor&) { watcher->before_backward(); });
  watcher_->after_forward();
  return output;
}

BlockOutput TransformerBlockImpl::compute(const torch::Tensor& x_BSD, const ForwardContext& context,
                                          const Memory* memory) {
  auto x = attended(x_BSD, self_attn_, self_attn_layer_norm_, context, nullptr);
  if (encoder_attn_) x = attended(x, encoder_attn_, encoder_attn_layer_norm_, context, memory);
  const auto input = options_.norm_first ? final_layer_norm_->forward(x) : x;
  BlockOutput output;
  if (moe_layer_) {
    auto moe =
        moe_layer_->forward(input, routing_context(context, options_.layer), context.padded_batch);
    x = x + moe.y_BSD;
    output.losses = std::move(moe.losses);
    output.stats = std::move(moe.stats);
  }
  if (feed_forward_) x = x + feed_forward_->forward(input, context);
  output.x_BSD = options_.norm_first ? x : final_layer_norm_->forward(x);
  return output;
}

void TransformerBlockImpl::initialise(uint64_t seed, const std::string& name) {
  self_attn_->initialise(seed, name + ".self_attn");
  if (encoder_attn_) encoder_attn_->initialise(seed, name + ".encoder_attn");
  if (feed_forward_) feed_forward_->initialise(seed, name);
  if (moe_layer_) moe_layer_->initialise(seed);
}

}  // namespace evomoe
