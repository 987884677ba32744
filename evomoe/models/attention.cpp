#include "evomoe/models/attention.h"

#include <ATen/record_function.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

/// bool, true = may attend; undefined where all may attend to all. Causal: the triangle of the last
/// `queries` of `keys` positions, of which each sees `window` at most (0: all). Padded keys are
/// left out.
torch::Tensor attention_mask(bool causal, int64_t window, int64_t queries, int64_t keys,
                             const torch::Tensor& padding_BS, torch::Device device) {
  torch::Tensor mask;
  const bool limited = causal && window > 0 && keys > window;
  if (causal && (queries > 1 || limited)) {
    mask = torch::ones({queries, keys}, torch::dtype(torch::kBool).device(device))
               .tril(keys - queries);
    if (limited) mask = mask.triu(keys - queries - window + 1);
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

template <typename T>
T& of_layer(std::vector<T>& layers, int64_t layer) {
  const auto index = static_cast<size_t>(layer);
  if (layers.size() <= index) layers.resize(index + 1);
  return layers[index];
}

/// [B,K,S,C] -> [B,K*group,S,C], each head `group` times.
torch::Tensor repeated_heads(const torch::Tensor& x_BKSC, int64_t group) {
  const auto B = x_BKSC.size(0), K = x_BKSC.size(1), S = x_BKSC.size(2), C = x_BKSC.size(3);
  return x_BKSC.unsqueeze(2).expand({B, K, group, S, C}).reshape({B, K * group, S, C});
}

Norm optional_norm(const std::string& kind, int64_t width, int64_t head_width,
                   const NormOptions& options) {
  if (kind == "none") return nullptr;
  return Norm(kind == "head" ? head_width : width, options);
}

void check_word(const char* flag, const std::string& word, const std::vector<std::string>& known) {
  if (std::ranges::find(known, word) == known.end())
    fail_usage("--{} {}: allowed are {}", flag, word, fmt::join(known, ", "));
}

}  // namespace

double attention_work(const AttentionOptions& options, double length) {
  const auto D = static_cast<double>(options.embed_dim);
  const auto Q = static_cast<double>(options.query_width());
  const auto K = static_cast<double>(options.key_width());
  const auto W = static_cast<double>(options.window);
  double keys = options.causal ? length / 2 : length;
  // The first W tokens see half of it on average, each later one all of it.
  if (options.causal && W > 0 && length > W) keys = W - W * W / (2 * length);
  return 2 * D * (Q + K) + 2 * keys * Q;
}

torch::Tensor segment_mask(const torch::Tensor& segment_BS, bool causal, torch::ScalarType type,
                           int64_t window) {
  auto same_BSS = segment_BS.unsqueeze(2).eq(segment_BS.unsqueeze(1));
  if (causal) same_BSS = same_BSS.tril();
  if (causal && window > 0) same_BSS = same_BSS.triu(1 - window);
  return torch::zeros(same_BSS.sizes(), same_BSS.options().dtype(type))
      .masked_fill_(same_BSS.logical_not(), -std::numeric_limits<double>::infinity())
      .unsqueeze(1);
}

void AttentionOptions::validate() const {
  constexpr auto kMostHeads = std::numeric_limits<uint32_t>::max() / kHeadStride;
  if (heads < 1 || heads > kMostHeads) {
    fail_usage("--{}-attention-heads {}: allowed are 1 to {}", half, heads, kMostHeads);
  }
  if (head_dim == 0 && embed_dim % heads != 0) {
    fail_usage(
        "--{}-attention-heads {} with --{}-embed-dim {}: the width must be a multiple of the "
        "number of heads",
        half, heads, half, embed_dim);
  }
  if (head_dim < 0) fail_usage("--{}-head-dim must be at least 1, not {}", half, head_dim);
  if (kv_heads < 0 || heads % key_heads() != 0) {
    fail_usage(
        "--{}-kv-heads {} with --{}-attention-heads {}: each head of keys and values serves the "
        "same number of heads; use a number that divides {}",
        half, kv_heads, half, heads, heads);
  }
  check_word("attention-bias", bias, {"all", "qkv", "none"});
  check_word("query-key-norm", query_key_norm, {"none", "width", "head"});
  if (window < 0) fail_usage("--sliding-window must be at least 1, not {}", window);
}

AttentionImpl::AttentionImpl(const AttentionOptions& options) : options_(options) {
  options_.validate();
  const auto dim = options.embed_dim, queries = options.query_width(), keys = options.key_width();
  const auto add = [&](const char* name, int64_t in, int64_t out, bool bias) {
    return register_module(name, Linear(in, out, bias));
  };
  k_proj = add("k_proj", dim, keys, options.bias != "none");
  v_proj = add("v_proj", dim, keys, options.bias != "none");
  q_proj = add("q_proj", dim, queries, options.bias != "none");
  out_proj = add("out_proj", queries, dim, options.bias == "all");
  const auto head = options.head_width();
  q_norm = optional_norm(options.query_key_norm, queries, head, options.norm);
  k_norm = optional_norm(options.query_key_norm, keys, head, options.norm);
  if (q_norm) register_module("q_norm", q_norm);
  if (k_norm) register_module("k_norm", k_norm);
}

void AttentionImpl::initialise(uint64_t seed, const std::string& name) {
  for (auto& [part, linear] : {std::pair<std::string, Linear&>{"k_proj", k_proj},
                               {"v_proj", v_proj},
                               {"q_proj", q_proj},
                               {"out_proj", out_proj}}) {
    init_linear(linear, seed, name + "." + part);
    const double gain = part == "out_proj" ? 1.0 : 1.0 / std::sqrt(2.0);
    init_uniform(linear->weight, xavier_bound(linear->weight, gain), seed,
                 name + "." + part + ".weight");
  }
  const torch::NoGradGuard no_grad;
  if (out_proj->bias.defined()) out_proj->bias.zero_();
}

torch::Tensor AttentionImpl::split_heads(const torch::Tensor& x_BSD) const {
  const auto C = options_.head_width();
  return x_BSD.view({x_BSD.size(0), x_BSD.size(1), x_BSD.size(2) / C, C}).transpose(1, 2);
}

torch::Tensor AttentionImpl::heads_of(const torch::Tensor& x_BSD, Linear& projection, Norm& norm,
                                      const ForwardContext& context) {
  auto x = projection->forward(x_BSD);
  const bool by_head = options_.query_key_norm == "head";
  if (norm && !by_head) x = norm->forward(x);
  // The heads of a token are side by side, so that each is a row of its own.
  if (norm && by_head) x = norm->forward(split_heads(x).transpose(1, 2)).flatten(2);
  const auto x_BHSC = split_heads(x);
  return context.rotation && !options_.cross ? rotated(x_BHSC, *context.rotation) : x_BHSC;
}

std::pair<torch::Tensor, torch::Tensor> AttentionImpl::keys_and_values(
    const torch::Tensor& x_BSD, const ForwardContext& context, const Memory* memory) {
  auto* cache = context.cache;
  if (options_.cross) {
    if (cache == nullptr)
      return {heads_of(memory->x_BSD, k_proj, k_norm, context),
              split_heads(v_proj->forward(memory->x_BSD))};
    auto& key = of_layer(cache->memory_key_BHSD, options_.layer);
    auto& value = of_layer(cache->memory_value_BHSD, options_.layer);
    if (!key.defined()) {
      key = heads_of(memory->x_BSD, k_proj, k_norm, context);
      value = split_heads(v_proj->forward(memory->x_BSD));
    }
    return {key, value};
  }
  const auto k_BKSC = heads_of(x_BSD, k_proj, k_norm, context);
  const auto v_BKSC = split_heads(v_proj->forward(x_BSD));
  if (cache == nullptr) return {k_BKSC, v_BKSC};
  return {of_layer(cache->key, options_.layer).append(k_BKSC, options_.window),
          of_layer(cache->value, options_.layer).append(v_BKSC, options_.window)};
}

torch::Tensor AttentionImpl::forward(const torch::Tensor& x_BSD, const ForwardContext& context,
                                     const Memory* memory) {
  RECORD_USER_SCOPE("attention");
  EVOMOE_CHECK((memory != nullptr) == options_.cross,
               "layer {}: cross-attention, and no other, reads an encoder's output",
               options_.layer);
  const auto q_BHSD = heads_of(x_BSD, q_proj, q_norm, context);
  const auto [k_BKSD, v_BKSD] = keys_and_values(x_BSD, context, memory);
  const auto& padding_BS = memory != nullptr ? memory->padding_BS : context.padding_BS;
  const auto y_BHSD = attend_grouped(q_BHSD, k_BKSD, v_BKSD, padding_BS, context);
  return out_proj->forward(y_BHSD.transpose(1, 2).flatten(2));
}

torch::Tensor AttentionImpl::attend_grouped(const torch::Tensor& q_BHSD,
                                            const torch::Tensor& k_BKSD,
                                            const torch::Tensor& v_BKSD,
                                            const torch::Tensor& key_padding_BS,
                                            const ForwardContext& context) {
  const auto K = k_BKSD.size(1), group = options_.heads / K;
  if (group == 1) return attend(q_BHSD, k_BKSD, v_BKSD, key_padding_BS, context);
  const bool one_query = q_BHSD.size(2) == 1 && context.cache != nullptr && !context.training;
  if (!one_query) {
    return attend(q_BHSD, repeated_heads(k_BKSD, group), repeated_heads(v_BKSD, group),
                  key_padding_BS, context);
  }
  // All that a query of a token sees the token's other queries see: they are queries of one head,
  // and no key is copied.
  const auto mask = attention_mask(/*causal=*/!options_.cross, options_.window, /*queries=*/1,
                                   k_BKSD.size(2), key_padding_BS, q_BHSD.device());
  const auto q_BKGC = q_BHSD.reshape({q_BHSD.size(0), K, group, q_BHSD.size(3)});
  const auto y_BKGC = mask.defined()
                          ? at::scaled_dot_product_attention(q_BKGC, k_BKSD, v_BKSD, mask)
                          : at::scaled_dot_product_attention(q_BKGC, k_BKSD, v_BKSD);
  return y_BKGC.reshape(q_BHSD.sizes());
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
    const bool limited = options_.window > 0 && keys > options_.window;
    if (causal && queries == keys && !key_padding_BS.defined() && !limited) {
      return at::scaled_dot_product_attention(q_BHSD, k_BHSD, v_BHSD, {}, 0.0, /*is_causal=*/true);
    }
    const auto mask =
        attention_mask(causal, options_.window, queries, keys, key_padding_BS, q_BHSD.device());
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
    const auto mask =
        attention_mask(causal, options_.window, queries, keys, key_padding_BS, q_BHSD.device());
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
