#include "evomoe/models/gpt.h"

#include <ATen/record_function.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/models/activation_checkpoint.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/models/positions.h"
#include "evomoe/ops/philox_dropout.h"
#include "evomoe/ops/tied_embedding.h"

namespace evomoe {
namespace {

void check_at_least_one(const char* flag, int64_t value) {
  if (value < 1) fail_usage("{} must be at least 1, not {}", flag, value);
}

void check_dropout(const char* flag, double value) {
  if (!(value >= 0 && value < 1)) {
    fail_usage("{} {}: allowed is at least 0 and below 1 (1 would leave nothing)", flag, value);
  }
}

DecoderBlockOptions block_options(const GptOptions& options, int64_t layer) {
  DecoderBlockOptions block;
  block.layer = layer;
  block.dropout = options.dropout;
  block.attention = {.embed_dim = options.embed_dim,
                     .heads = options.heads,
                     .dropout = options.attention_dropout,
                     .layer = layer};
  block.feed_forward = {.embed_dim = options.embed_dim,
                        .hidden_dim = options.ffn_dim,
                        .activation = options.activation,
                        .activation_dropout = options.activation_dropout,
                        .dropout = options.dropout,
                        .layer = layer};
  if (options.moe_freq > 0 && (layer + 1) % options.moe_freq == 0) {
    if (options.dense_ffn_dim_of_moe_layers > 0) {
      block.feed_forward.hidden_dim = options.dense_ffn_dim_of_moe_layers;
    } else {
      block.moe = options.moe;
      block.moe->layer = layer;
      block.moe->router.model_dim = options.embed_dim;
      block.moe->hidden_dim = options.ffn_dim;
      block.moe->activation = options.activation;
      block.moe->activation_dropout = options.activation_dropout;
      block.moe->dropout = options.dropout;
      block.moe->initial_seed.reset();  // initialise() or a checkpoint sets all values at once
    }
  }
  return block;
}

}  // namespace

void GptOptions::validate() const {
  check_at_least_one("--decoder-layers", layers);
  check_at_least_one("--decoder-embed-dim", embed_dim);
  check_at_least_one("--decoder-ffn-embed-dim", ffn_dim);
  check_dropout("--dropout", dropout);
  check_dropout("--attention-dropout", attention_dropout);
  check_dropout("--activation-dropout", activation_dropout);
  if (moe_freq < 0 || moe_freq > layers) {
    fail_usage(
        "--moe-freq {} makes none of the {} layers (--decoder-layers) an MoE layer; allowed are 0 "
        "(a dense model) to {}",
        moe_freq, layers, layers);
  }
  block_options(*this, /*layer=*/0).attention.validate();
}

GptImpl::GptImpl(const GptOptions& options) : options_(options) {
  options_.validate();
  EVOMOE_CHECK(options.vocab_size > 0,
               "the dictionary is empty: a language model needs at least one symbol");
  const auto V = options.vocab_size, D = options.embed_dim;
  auto decoder = register_module("decoder", std::make_shared<torch::nn::Module>());
  const auto add = [&](const std::string& name, std::shared_ptr<torch::nn::Module> module) {
    return decoder->register_module(name, std::move(module));
  };
  embed_tokens_ = add("embed_tokens", std::make_shared<torch::nn::Module>())
                      ->register_parameter("weight", torch::zeros({V, D}));
  const auto position_rows = options.max_positions + options.padding_index + 1;
  if (options.no_positions) {
    // No table: attention alone sees the order (causal mask).
  } else if (options.learned_positions) {
    embed_positions_ = add("embed_positions", std::make_shared<torch::nn::Module>())
                           ->register_parameter("weight", torch::zeros({position_rows, D}));
  } else {
    embed_positions_ = sinusoidal_table(position_rows, D, options.padding_index);
  }
  auto layers = add("layers", std::make_shared<torch::nn::Module>());
  for (int64_t i = 0; i < options.layers; ++i) {
    blocks_.push_back(
        layers->register_module(std::to_string(i), DecoderBlock(block_options(options, i))));
  }
  if (options.final_norm) {
    final_norm_ = decoder->register_module(
        "layer_norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({D}).eps(1e-5)));
  }
  if (!options.tie_embeddings) {
    output_projection_ = add("output_projection", std::make_shared<torch::nn::Module>())
                             ->register_parameter("weight", torch::zeros({V, D}));
  }
}

torch::Tensor GptImpl::embed(const torch::Tensor& token_BS, const ForwardContext& context) {
  RECORD_USER_SCOPE("embedding");
  auto x = options_.tie_embeddings
               ? tied_embedding(embed_tokens_, token_BS, options_.padding_index)
               : torch::embedding(embed_tokens_, token_BS, options_.padding_index);
  if (options_.scale_embedding) x = x * std::sqrt(static_cast<double>(options_.embed_dim));
  if (embed_positions_.defined()) {
    const int64_t first = context.cache != nullptr ? context.cache->length : 0;
    EVOMOE_CHECK(first + token_BS.size(1) <= options_.max_positions,
                 "a sequence of {} tokens is longer than the {} positions of the model "
                 "(--max-target-positions)",
                 first + token_BS.size(1), options_.max_positions);
    if (embed_positions_.device() != x.device()) embed_positions_ = embed_positions_.to(x.device());
    const auto position_BS =
        positions_of(token_BS, context.padding_BS, options_.padding_index, first);
    x = x + torch::embedding(embed_positions_, position_BS, options_.padding_index);
  }
  if (context.training) {
    x = philox_dropout(x, options_.dropout, context.noise.at(0, NoiseSite::kEmbeddingDropout));
  }
  return x;
}

GptOutput GptImpl::forward(const torch::Tensor& token_BS, const ForwardContext& given) {
  RECORD_USER_SCOPE("forward");
  ForwardContext context = given;
  context.noise.update = static_cast<uint32_t>(context.update);
  context.noise.sequence_length = static_cast<uint32_t>(token_BS.size(1));
  context.token_id_T = token_BS.flatten();
  GptOutput output;
  auto x = embed(token_BS, context);
  const bool recompute =
      options_.checkpoint_activations && context.training && torch::GradMode::is_enabled();
  for (size_t i = 0; i < blocks_.size(); ++i) {
    RECORD_USER_SCOPE("layer." + std::to_string(i));
    auto block = blocks_[i];
    BlockOutput result;
    if (recompute) {
      // Router losses are outputs of the checkpointed function as well, so that their gradient
      // finds its way.
      auto tensors = checkpoint_activations(
          x, [block, context, &result](const torch::Tensor& input, bool again) mutable {
            auto out = block->forward(input, context);
            torch::autograd::variable_list all{out.x_BSD};
            for (const auto& loss : out.losses) all.push_back(loss.value);
            if (!again) result = std::move(out);
            return all;
          });
      result.x_BSD = tensors[0];
      for (size_t j = 0; j < result.losses.size(); ++j) result.losses[j].value = tensors[j + 1];
    } else {
      result = block->forward(x, context);
    }
    x = result.x_BSD;
    if (context.probe) context.probe(static_cast<int64_t>(i), x);
    if (result.stats) {
      output.losses.push_back(std::move(result.losses));
      output.stats.emplace_back(static_cast<int64_t>(i), std::move(*result.stats));
    }
  }
  if (context.cache != nullptr) context.cache->length += token_BS.size(1);
  output.x_BSD = final_norm_ ? final_norm_->forward(x) : x;
  return output;
}

const torch::Tensor& GptImpl::output_weight() const {
  return options_.tie_embeddings ? embed_tokens_ : output_projection_;
}

void GptImpl::initialise(uint64_t seed) {
  const double std = 1.0 / std::sqrt(static_cast<double>(options_.embed_dim));
  const torch::NoGradGuard no_grad;
  init_normal(embed_tokens_, std, seed, "decoder.embed_tokens.weight");
  if (options_.padding_index < options_.vocab_size) embed_tokens_[options_.padding_index].zero_();
  if (options_.learned_positions) {
    init_normal(embed_positions_, std, seed, "decoder.embed_positions.weight");
    embed_positions_[options_.padding_index].zero_();
  }
  if (output_projection_.defined())
    init_normal(output_projection_, std, seed, "decoder.output_projection.weight");
  for (size_t i = 0; i < blocks_.size(); ++i)
    blocks_[i]->initialise(seed, "decoder.layers." + std::to_string(i));
}

std::vector<std::pair<int64_t, MoELayer>> GptImpl::moe_layers() const {
  std::vector<std::pair<int64_t, MoELayer>> layers;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (auto layer = blocks_[i]->moe_layer()) layers.emplace_back(static_cast<int64_t>(i), layer);
  }
  return layers;
}

double GptImpl::training_flops_per_token(double assignments_per_token,
                                         int64_t sequence_length) const {
  const auto D = static_cast<double>(options_.embed_dim), F = static_cast<double>(options_.ffn_dim);
  double forward = 0, recomputed = 0;
  for (int64_t i = 0; i < options_.layers; ++i) {
    // Causal: a query meets half of the S keys, twice (scores, values).
    forward += 4 * D * D + static_cast<double>(sequence_length) * D;
    const auto& block = blocks_[static_cast<size_t>(i)];
    if (const auto moe = block->moe_layer()) {
      forward += assignments_per_token * 2 * D * F;
      // The shared expert takes every token without asking the gate.
      if (!moe->in_shared_expert_stage())
        forward += D * static_cast<double>(moe->router()->num_experts());
      if (moe->options().recompute_experts) recomputed += assignments_per_token * D * F;
    } else {
      forward += 2 * D * static_cast<double>(block_options(options_, i).feed_forward.hidden_dim);
    }
  }
  if (options_.checkpoint_activations) recomputed += forward;
  // The output projection is outside of the blocks.
  forward += static_cast<double>(options_.vocab_size) * D;
  return 2 * (3 * forward + recomputed);
}

}  // namespace evomoe
