#include "evomoe/models/transformer_stack.h"

#include <ATen/record_function.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/models/activation_checkpoint.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/models/parameter_kinds.h"
#include "evomoe/models/positions.h"
#include "evomoe/ops/philox_dropout.h"
#include "evomoe/ops/tied_embedding.h"

namespace evomoe {
namespace {

void check_at_least_one(const std::string& half, const char* flag, int64_t value) {
  if (value < 1) fail_usage("--{}-{} must be at least 1, not {}", half, flag, value);
}

TransformerBlockOptions block_options(const TransformerStackOptions& options, int64_t layer) {
  TransformerBlockOptions block;
  block.layer = options.first_layer + layer;
  block.dropout = options.dropout;
  block.norm = options.norm;
  block.norm_first = options.norm_first;
  block.cross_attention = options.cross_attention;
  block.attention = options.attention(layer);
  block.feed_forward = {.embed_dim = options.embed_dim,
                        .hidden_dim = options.dense_ffn_dim(layer),
                        .activation = options.activation,
                        .gated = options.gated,
                        .biases = options.ffn_bias,
                        .activation_dropout = options.activation_dropout,
                        .dropout = options.dropout,
                        .layer = block.layer};
  if (options.is_moe(layer)) {
    block.moe = options.moe;
    block.moe->layer = block.layer;
    block.moe->router.model_dim = options.embed_dim;
    block.moe->router.vocab_size = options.vocab_size;
    block.moe->hidden_dim = options.expert_dim();
    block.moe->activation = options.activation;
    block.moe->activation_dropout = options.activation_dropout;
    block.moe->dropout = options.dropout;
    block.moe->initial_seed.reset();  // initialise() or a checkpoint sets all values at once
  }
  return block;
}

}  // namespace

void check_dropout(const char* flag, double value) {
  if (!(value >= 0 && value < 1)) {
    fail_usage("{} {}: allowed is at least 0 and below 1 (1 would leave nothing)", flag, value);
  }
}

AttentionOptions TransformerStackOptions::attention(int64_t layer) const {
  return {.embed_dim = embed_dim,
          .heads = heads,
          .kv_heads = kv_heads,
          .head_dim = head_dim,
          .bias = attention_bias,
          .query_key_norm = query_key_norm,
          .norm = norm,
          .window = window,
          .dropout = attention_dropout,
          .layer = first_layer + layer,
          .causal = causal,
          .half = half};
}

void TransformerStackOptions::validate() const {
  check_at_least_one(half, "layers", layers);
  check_at_least_one(half, "embed-dim", embed_dim);
  check_at_least_one(half, "ffn-embed-dim", ffn_dim);
  check_dropout("--dropout", dropout);
  check_dropout("--attention-dropout", attention_dropout);
  check_dropout("--activation-dropout", activation_dropout);
  if (moe_freq < 0 || moe_freq > layers) {
    fail_usage(
        "--moe-freq {} makes none of the {} layers (--{}-layers) an MoE layer; allowed are 0 "
        "(a dense model) to {}",
        moe_freq, layers, half, layers);
  }
  if (first_dense_layers < 0 ||
      (moe_freq > 0 && first_dense_layers >= layers / moe_freq * moe_freq)) {
    fail_usage(
        "--moe-first-dense-layers {} leaves none of the {} layers (--{}-layers) with --moe-freq {} "
        "an MoE layer; allowed are 0 to {}",
        first_dense_layers, layers, half, moe_freq, layers / moe_freq * moe_freq - 1);
  }
  attention().validate();
  if (!(norm.eps > 0)) fail_usage("--norm-eps {}: must be above 0", norm.eps);
  if (positions == PositionKind::kRotary) {
    rotary.validate();
    if (const auto width = attention().head_width(); width % 2 != 0) {
      fail_usage(
          "{}: rotary positions turn a head's numbers in pairs, and {} is odd; choose heads of an "
          "even width",
          head_dim > 0 ? fmt::format("--{}-head-dim {}", half, head_dim)
                       : fmt::format("--{}-attention-heads {} with --{}-embed-dim {}", half, heads,
                                     half, embed_dim),
          width);
    }
  }
}

TransformerStackImpl::TransformerStackImpl(const TransformerStackOptions& options,
                                           torch::Tensor embedding)
    : options_(options), own_embedding_(!embedding.defined()) {
  options_.validate();
  EVOMOE_CHECK(options.vocab_size > 0,
               "the dictionary is empty: a language model needs at least one symbol");
  const auto V = options.vocab_size, D = options.embed_dim;
  if (options.adaptive_input.used()) {
    adaptive_input_ = register_module(
        "embed_tokens", AdaptiveInput(options.adaptive_input, V, D, options.padding_index));
  } else if (own_embedding_) {
    embed_tokens_ = register_module("embed_tokens", module_of_kind(ParameterKind::kEmbedding))
                        ->register_parameter("weight", torch::zeros({V, D}));
  } else {
    EVOMOE_CHECK(embedding.size(0) == V && embedding.size(1) == D,
                 "an embedding table that is shared must be [{},{}], not {}", V, D,
                 c10::str(embedding.sizes()));
    embed_tokens_ = std::move(embedding);
  }
  const auto position_rows = options.max_positions + options.padding_index + 1;
  if (options.positions == PositionKind::kLearned) {
    embed_positions_ = register_module("embed_positions", module_of_kind(ParameterKind::kEmbedding))
                           ->register_parameter("weight", torch::zeros({position_rows, D}));
  } else if (options.positions == PositionKind::kSinusoidal) {
    embed_positions_ = sinusoidal_table(position_rows, D, options.padding_index);
  }
  if (options.embedding_norm)
    embedding_norm_ = register_module("layernorm_embedding", Norm(D, options.norm));
  auto layers = register_module("layers", std::make_shared<torch::nn::Module>());
  for (int64_t i = 0; i < options.layers; ++i) {
    blocks_.push_back(
        layers->register_module(std::to_string(i), TransformerBlock(block_options(options, i))));
  }
  if (options.final_norm) final_norm_ = register_module("layer_norm", Norm(D, options.norm));
}

torch::Tensor TransformerStackImpl::positions(const torch::Tensor& token_BS,
                                              const ForwardContext& context) const {
  const int64_t first = context.cache != nullptr ? context.cache->length : 0;
  return positions_of(token_BS, context.padding_BS, options_.padding_index, first,
                      context.segment_BS);
}

torch::Tensor TransformerStackImpl::embed(const torch::Tensor& token_BS,
                                          const ForwardContext& context) {
  RECORD_USER_SCOPE("embedding");
  auto x = adaptive_input_ ? adaptive_input_->forward(token_BS)
           : tied_         ? tied_embedding(embed_tokens_, token_BS, options_.padding_index)
                           : torch::embedding(embed_tokens_, token_BS, options_.padding_index);
  // Of a table in bfloat16; what is computed with its rows is float32.
  if (x.scalar_type() == torch::kBFloat16) x = x.to(torch::kFloat32);
  if (options_.scale_embedding) x = x * std::sqrt(static_cast<double>(options_.embed_dim));
  if (embed_positions_.defined()) {
    const int64_t first = context.cache != nullptr ? context.cache->length : 0;
    const auto position_BS = positions(token_BS, context);
    // Padding behind a sequence needs no positions of its own.
    EVOMOE_CHECK(
        first + token_BS.size(1) <= options_.max_positions ||
            position_BS.max().item<int64_t>() <= options_.max_positions + options_.padding_index,
        "a sequence of {} tokens is longer than the {} positions of the model; give a shorter one",
        first + token_BS.size(1), options_.max_positions);
    if (embed_positions_.device() != x.device()) embed_positions_ = embed_positions_.to(x.device());
    x = x + torch::embedding(embed_positions_, position_BS, options_.padding_index);
  }
  if (embedding_norm_) x = embedding_norm_->forward(x);
  if (context.training) {
    x = philox_dropout(x, options_.dropout,
                       context.noise.at(static_cast<uint32_t>(options_.first_layer),
                                        NoiseSite::kEmbeddingDropout));
  }
  if (options_.zero_padding && context.padding_BS.defined())
    x = x * context.padding_BS.logical_not().unsqueeze(-1).to(x.scalar_type());
  return x;
}

BlockOutput TransformerStackImpl::run_block(size_t index, const torch::Tensor& x_BSD,
                                            const ForwardContext& context, const Memory* memory) {
  auto block = blocks_[index];
  if (!options_.checkpoint_activations || !context.training || !torch::GradMode::is_enabled())
    return block->forward(x_BSD, context, memory);
  // What the gradient has to find its way through is an input or output of the checkpointed
  // function: the encoder's output, router losses.
  torch::autograd::variable_list inputs{x_BSD};
  if (memory != nullptr) inputs.push_back(memory->x_BSD);
  BlockOutput result;
  auto tensors = checkpoint_activations(
      inputs, [block, context, &result, has_memory = memory != nullptr,
               padding_BS = memory != nullptr ? memory->padding_BS : torch::Tensor()](
                  const torch::autograd::variable_list& given, bool again) mutable {
        Memory of_encoder;
        if (has_memory) of_encoder = {given[1], padding_BS};
        auto out = block->forward(given[0], context, has_memory ? &of_encoder : nullptr);
        torch::autograd::variable_list all{out.x_BSD};
        for (const auto& loss : out.losses) all.push_back(loss.value);
        if (!again) result = std::move(out);
        return all;
      });
  result.x_BSD = tensors[0];
  for (size_t j = 0; j < result.losses.size(); ++j) result.losses[j].value = tensors[j + 1];
  return result;
}

StackOutput TransformerStackImpl::forward(const torch::Tensor& token_BS,
                                          const ForwardContext& given, const Memory* memory) {
  ForwardContext context = given;
  context.noise.sequence_length = static_cast<uint32_t>(token_BS.size(1));
  context.token_id_T = token_BS.flatten();
  StackOutput output;
  auto x = embed(token_BS, context);
  // Blocks that are made again in the backward pass are reached through their input, also where the
  // embeddings are not trained.
  if (options_.checkpoint_activations && context.training && torch::GradMode::is_enabled() &&
      !x.requires_grad())
    x.requires_grad_();
  if (context.segment_BS.defined()) {
    context.segment_mask_B1SS =
        segment_mask(context.segment_BS, options_.causal, x.scalar_type(), options_.window);
  } else if (options_.window > 0 && token_BS.size(1) > options_.window &&
             context.cache == nullptr) {
    // A row is one segment, and its padding another one: a mask for all layers, not one of each.
    const auto segment_BS = context.padding_BS.defined()
                                ? context.padding_BS.logical_not().to(torch::kInt64)
                                : torch::ones_like(token_BS).slice(0, 0, 1);
    context.segment_mask_B1SS =
        segment_mask(segment_BS, options_.causal, x.scalar_type(), options_.window);
  }
  if (options_.positions == PositionKind::kRotary) {
    const auto position_BS = positions(token_BS, context) - (options_.padding_index + 1);
    const bool same = !context.padding_BS.defined() && !context.segment_BS.defined();
    context.rotation = rotation_of(same ? position_BS.slice(0, 0, 1) : position_BS,
                                   options_.attention().head_width(), options_.rotary, x);
  }
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto layer = options_.first_layer + static_cast<int64_t>(i);
    RECORD_USER_SCOPE("layer." + std::to_string(layer));
    auto result = run_block(i, x, context, memory);
    x = result.x_BSD;
    if (context.probe) context.probe(layer, x);
    if (result.stats) {
      output.losses.push_back(std::move(result.losses));
      output.stats.emplace_back(layer, std::move(*result.stats));
    }
  }
  if (context.cache != nullptr) context.cache->length += token_BS.size(1);
  output.x_BSD = final_norm_ ? final_norm_->forward(x) : x;
  return output;
}

void TransformerStackImpl::initialise(uint64_t seed, const std::string& name) {
  const double std = 1.0 / std::sqrt(static_cast<double>(options_.embed_dim));
  const torch::NoGradGuard no_grad;
  if (adaptive_input_) {
    adaptive_input_->initialise(seed, name + ".embed_tokens");
  } else if (own_embedding_) {
    init_normal(embed_tokens_, std, seed, name + ".embed_tokens.weight");
    if (options_.padding_index < options_.vocab_size) embed_tokens_[options_.padding_index].zero_();
  }
  if (options_.positions == PositionKind::kLearned) {
    init_normal(embed_positions_, std, seed, name + ".embed_positions.weight");
    embed_positions_[options_.padding_index].zero_();
  }
  for (size_t i = 0; i < blocks_.size(); ++i)
    blocks_[i]->initialise(seed, name + ".layers." + std::to_string(i));
}

std::vector<std::pair<int64_t, MoELayer>> TransformerStackImpl::moe_layers() const {
  std::vector<std::pair<int64_t, MoELayer>> layers;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (auto layer = blocks_[i]->moe_layer())
      layers.emplace_back(options_.first_layer + static_cast<int64_t>(i), layer);
  }
  return layers;
}

TransformerStackImpl::Work TransformerStackImpl::work(
    int64_t tokens, int64_t length, const std::vector<std::pair<int64_t, RouterStats>>& stats,
    int64_t memory_tokens, int64_t memory_length) const {
  const auto D = static_cast<double>(options_.embed_dim);
  const auto T = static_cast<double>(tokens), S = static_cast<double>(length);
  Work work;
  for (int64_t i = 0; i < options_.layers; ++i) {
    work.forward += T * attention_work(options_.attention(i), S);
    if (options_.cross_attention) {
      work.forward += T * (2 * D * D + 2 * static_cast<double>(memory_length) * D) +
                      static_cast<double>(memory_tokens) * 2 * D * D;
    }
    const auto moe = blocks_[static_cast<size_t>(i)]->moe_layer();
    if (options_.dense_ffn_dim(i) > 0)
      work.forward += T * static_cast<double>(expert_work(options_.dense_form(i)).forward);
    if (!moe) continue;
    double assignments = 0;
    for (const auto& [layer, done] : stats) {
      if (layer == options_.first_layer + i) assignments = static_cast<double>(done.assignments);
    }
    const auto each = expert_work(moe->experts()->options().form());
    work.forward += assignments * static_cast<double>(each.forward);
    // The shared expert takes every token without asking the gate.
    if (!moe->in_shared_expert_stage())
      work.forward += T * D * static_cast<double>(moe->router()->num_experts());
    if (moe->options().recompute_experts)
      work.recomputed += assignments * static_cast<double>(each.hidden);
  }
  if (options_.checkpoint_activations) work.recomputed += work.forward;
  return work;
}

}  // namespace evomoe
