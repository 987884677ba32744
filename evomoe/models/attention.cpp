#include "evomoe/models/attention.h"

#include <ATen/record_function.h>

#include <cmath>
#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

/// bool, true = may attend; undefined where all may attend to all. Causal: the triangle of the last
/// `queries` of `keys` positions. Padded keys are left out.
torch::Tensor attention_mask(bool causal, int64_t queries, int64_t keys,
                             const torch::Tensor& padding_BS, torch::Device device) {
  torch::Tensor mask;
  if (causal && queries > 1) {
    mask = torch::ones({queries, keys}, torch::dtype(torch::kBool).device(device))
               .tril(keys - queries);
  }
  if (padding_BS.defined()) {
    const auto real = padding_BS.logical_not().unsqueeze(1);  // [B,1,S]
    mask = (mask.defined() ? mask.unsqueeze(0).logical_and(real) : real).unsqueeze(1);
  }
  return mask;
}

/// Longest sequence that dropout of the probabilities can tell from the next head's.
constexpr int64_t kHeadStride = int64_t{1} << 20;

/// The rows of [B,H,Q] as tokens of the noise: (sequence, head, query), with a stride between heads
/// that does not depend on the padded length, so that a query keeps its numbers in any micro-batch.
torch::Tensor noise_rows(int64_t B, int64_t H, int64_t Q, torch::Device device) {
  const auto index = torch::dtype(torch::kInt64).device(device);
  const auto first_of_head = torch::arange(B * H, index) * kHeadStride;
  return (first_of_head.unsqueeze(1) + torch::arange(Q, index)).flatten();
}

torch::Tensor& of_layer(std::vector<torch::Tensor>& tensors, int64_t layer) {
  const auto index = static_cast<size_t>(layer);
  if (tensors.size() <= index) tensors.resize(index + 1);
  return tensors[index];
}

}  // namespace

torch::Tensor segment_mask(const torch::Tensor& segment_BS, bool causal, torch::ScalarType type) {
  auto same_BSS = segment_BS.unsqueeze(2).eq(segment_BS.unsqueeze(1));
  if (causal) same_BSS = same_BSS.tril();
  return torch::zeros(same_BSS.sizes(), same_BSS.options().dtype(type))
      .masked_fill_(same_BSS.logical_not(), -std::numeric_limits<double>::infinity())
      .unsqueeze(1);
}

void AttentionOptions::validate() const {
  constexpr auto kMostHeads = std::numeric_limits<uint32_t>::max() / kHeadStride;
  if (heads < 1 || heads > kMostHeads) {
    fail_usage("--{}-attention-heads {}: allowed are 1 to {}", half, heads, kMostHeads);
  }
  if (embed_dim % heads != 0) {
    fail_usage(
        "--{}-attention-heads {} with --{}-embed-dim {}: the width must be a multiple of the "
        "number of heads",
        half, heads, half, embed_dim);
  }
}

AttentionImpl::AttentionImpl(const AttentionOptions& options) : options_(options) {
  options_.validate();
  const auto dim = options.embed_dim;
  k_proj = register_module("k_proj", torch::nn::Linear(dim, dim));
  v_proj = register_module("v_proj", torch::nn::Linear(dim, dim));
  q_proj = register_module("q_proj", torch::nn::Linear(dim, dim));
  out_proj = register_module("out_proj", torch::nn::Linear(dim, dim));
}

void AttentionImpl::initialise(uint64_t seed, const std::string& name) {
  for (auto& [part, linear] : {std::pair<std::string, torch::nn::Linear&>{"k_proj", k_proj},
                               {"v_proj", v_proj},
                               {"q_proj", q_proj},
                               {"out_proj", out_proj}}) {
    init_linear(linear, seed, name + "." + part);
    const double gain = part == "out_proj" ? 1.0 : 1.0 / std::sqrt(2.0);
    init_uniform(linear->weight, xavier_bound(linear->weight, gain), seed,
                 name + "." + part + ".weight");
  }
  const torch::NoGradGuard no_grad;
  out_proj->bias.zero_();
}

torch::Tensor AttentionImpl::split_heads(const torch::Tensor& x_BSD) const {
  const auto H = options_.heads;
  return x_BSD.view({x_BSD.size(0), x_BSD.size(1), H, options_.embed_dim / H}).transpose(1, 2);
}

std::pair<torch::Tensor, torch::Tensor> AttentionImpl::keys_and_values(
    const torch::Tensor& x_BSD, const ForwardContext& context, const Memory* memory) {
  auto* cache = context.cache;
  if (options_.cross) {
    if (cache == nullptr)
      return {split_heads(k_proj->forward(memory->x_BSD)),
              split_heads(v_proj->forward(memory->x_BSD))};
    auto& key = of_layer(cache->memory_key_BHSD, options_.layer);
    auto& value = of_layer(cache->memory_value_BHSD, options_.layer);
    if (!key.defined()) {
      key = split_heads(k_proj->forward(memory->x_BSD));
      value = split_heads(v_proj->forward(memory->x_BSD));
    }
    return {key, value};
  }
  auto k_BHSD = split_heads(k_proj->forward(x_BSD));
  if (context.rotation) k_BHSD = rotated(k_BHSD, *context.rotation);
  auto v_BHSD = split_heads(v_proj->forward(x_BSD));
  if (cache == nullptr) return {k_BHSD, v_BHSD};
  auto& key = of_layer(cache->key_BHSD, options_.layer);
  auto& value = of_layer(cache->value_BHSD, options_.layer);
  key = key.defined() ? torch::cat({key, k_BHSD}, 2) : k_BHSD;
  value = value.defined() ? torch::cat({value, v_BHSD}, 2) : v_BHSD;
  return {key, value};
}

torch::Tensor AttentionImpl::forward(const torch::Tensor& x_BSD, const ForwardContext& context,
                                     const Memory* memory) {
  RECORD_USER_SCOPE("attention");
  EVOMOE_CHECK((memory != nullptr) == options_.cross,
               "layer {}: cross-attention, and no other, reads an encoder's output",
               options_.layer);
  auto q_BHSD = split_heads(q_proj->forward(x_BSD));
  if (context.rotation && !options_.cross) q_BHSD = rotated(q_BHSD, *context.rotation);
  const auto [k_BHSD, v_BHSD] = keys_and_values(x_BSD, context, memory);
  const auto& padding_BS = memory != nullptr ? memory->padding_BS : context.padding_BS;
  const auto y_BHSD = attend(q_BHSD, k_BHSD, v_BHSD, padding_BS, context);
  return out_proj->forward(y_BHSD.transpose(1, 2).reshape(x_BSD.sizes()));
}

torch::Tensor AttentionImpl::attend(const torch::Tensor& q_BHSD, const torch::Tensor& k_BHSD,
                                    const torch::Tensor& v_BHSD,
                                    const torch::Tensor& key_padding_BS,
                                    const ForwardContext& context) {
  const auto queries = q_BHSD.size(2), keys = k_BHSD.size(2);
  const bool causal = options_.causal && !options_.cross;
  const double dropout = context.training ? options_.dropout : 0.0;
  const auto of_segments = options_.cross ? torch::Tensor() : context.segment_mask_B1SS;
  EVOMOE_CHECK(!of_segments.defined() || queries == keys,
               "rows of several sequences are read at once, not token by token");
  if (dropout == 0.0) {
    if (of_segments.defined())
      return at::scaled_dot_product_attention(q_BHSD, k_BHSD, v_BHSD, of_segments);
    if (causal && queries == keys && !key_padding_BS.defined()) {
      return at::scaled_dot_product_attention(q_BHSD, k_BHSD, v_BHSD, {}, 0.0, /*is_causal=*/true);
    }
    const auto mask = attention_mask(causal, queries, keys, key_padding_BS, q_BHSD.device());
    if (!mask.defined()) return at::scaled_dot_product_attention(q_BHSD, k_BHSD, v_BHSD);
    return at::scaled_dot_product_attention(q_BHSD, k_BHSD, v_BHSD, mask);
  }
  // The library's fused kernels draw dropout from a generator with state; ours is counter-based, so
  // it is applied by hand.
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_BHSD.size(3)));
  auto score = torch::matmul(q_BHSD * scale, k_BHSD.transpose(2, 3))
                   .to(torch::promote_types(q_BHSD.scalar_type(), torch::kFloat));
  torch::Tensor hidden;
  if (of_segments.defined()) {
    score = score + of_segments;  // of which nothing is kept for the backward pass
  } else {
    const auto mask = attention_mask(causal, queries, keys, key_padding_BS, q_BHSD.device());
    if (mask.defined()) hidden = mask.logical_not();
  }
  // The lowest finite score, not minus infinity: a query whose keys are all padding would get NaN.
  if (hidden.defined()) score = score.masked_fill(hidden, std::numeric_limits<float>::lowest());
  auto probability = torch::softmax(score, -1);
  // Such a query attends to nothing, as in the library's kernels.
  if (hidden.defined() && key_padding_BS.defined())
    probability = probability.masked_fill(hidden, 0);
  EVOMOE_CHECK(queries <= kHeadStride, "attention dropout of {} queries: at most {} are possible",
               queries, kHeadStride);
  auto noise = context.noise.at(static_cast<uint32_t>(options_.layer),
                                options_.cross ? NoiseSite::kCrossAttentionProbabilityDropout
                                               : NoiseSite::kAttentionProbabilityDropout);
  noise.sequence_length = static_cast<uint32_t>(options_.heads * kHeadStride);
  const auto rows = noise_rows(q_BHSD.size(0), options_.heads, queries, q_BHSD.device());
  return torch::matmul(philox_dropout(probability.to(q_BHSD.scalar_type()), dropout, noise, rows),
                       v_BHSD);
}

}  // namespace evomoe
