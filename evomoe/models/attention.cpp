#include "evomoe/models/attention.h"

#include <ATen/record_function.h>

#include <cmath>
#include <limits>

#include "evomoe/base/error.h"
#include "evomoe/models/initialisation.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

/// bool, true = may attend: the causal triangle of the last `queries` of `keys` positions, without
/// padded keys.
torch::Tensor attention_mask(int64_t queries, int64_t keys, const torch::Tensor& padding_BS,
                             torch::Device device) {
  auto mask =
      torch::ones({queries, keys}, torch::dtype(torch::kBool).device(device)).tril(keys - queries);
  if (padding_BS.defined())
    mask = mask.unsqueeze(0).logical_and(padding_BS.logical_not().unsqueeze(1)).unsqueeze(1);
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

}  // namespace

void AttentionOptions::validate() const {
  constexpr auto kMostHeads = std::numeric_limits<uint32_t>::max() / kHeadStride;
  if (heads < 1 || heads > kMostHeads) {
    fail_usage("--decoder-attention-heads {}: allowed are 1 to {}", heads, kMostHeads);
  }
  if (embed_dim % heads != 0) {
    fail_usage(
        "--decoder-attention-heads {} with --decoder-embed-dim {}: the width must be a multiple of "
        "the number of heads",
        heads, embed_dim);
  }
}

SelfAttentionImpl::SelfAttentionImpl(const AttentionOptions& options) : options_(options) {
  options_.validate();
  const auto dim = options.embed_dim;
  k_proj = register_module("k_proj", torch::nn::Linear(dim, dim));
  v_proj = register_module("v_proj", torch::nn::Linear(dim, dim));
  q_proj = register_module("q_proj", torch::nn::Linear(dim, dim));
  out_proj = register_module("out_proj", torch::nn::Linear(dim, dim));
}

void SelfAttentionImpl::initialise(uint64_t seed, const std::string& name) {
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

torch::Tensor SelfAttentionImpl::forward(const torch::Tensor& x_BSD,
                                         const ForwardContext& context) {
  RECORD_USER_SCOPE("attention");
  const auto B = x_BSD.size(0), S = x_BSD.size(1), D = x_BSD.size(2), H = options_.heads;
  const auto split = [&](const torch::Tensor& t) {
    return t.view({B, S, H, D / H}).transpose(1, 2);
  };
  const auto q_BHSD = split(q_proj->forward(x_BSD));
  auto k_BHSD = split(k_proj->forward(x_BSD));
  auto v_BHSD = split(v_proj->forward(x_BSD));
  if (context.cache != nullptr) {
    auto& keys = context.cache->key_BHSD;
    auto& values = context.cache->value_BHSD;
    const auto layer = static_cast<size_t>(options_.layer);
    if (keys.size() <= layer) {
      keys.resize(layer + 1);
      values.resize(layer + 1);
    }
    if (keys[layer].defined()) {
      k_BHSD = torch::cat({keys[layer], k_BHSD}, 2);
      v_BHSD = torch::cat({values[layer], v_BHSD}, 2);
    }
    keys[layer] = k_BHSD;
    values[layer] = v_BHSD;
  }
  const auto y_BHSD = attend(q_BHSD, k_BHSD, v_BHSD, context);
  return out_proj->forward(y_BHSD.transpose(1, 2).reshape({B, S, D}));
}

torch::Tensor SelfAttentionImpl::attend(const torch::Tensor& q_BHSD, const torch::Tensor& k_BHSD,
                                        const torch::Tensor& v_BHSD,
                                        const ForwardContext& context) {
  const auto queries = q_BHSD.size(2), keys = k_BHSD.size(2);
  const double dropout = context.training ? options_.dropout : 0.0;
  if (dropout == 0.0) {
    if (queries == keys && !context.padding_BS.defined()) {
      return at::scaled_dot_product_attention(q_BHSD, k_BHSD, v_BHSD, {}, 0.0, /*is_causal=*/true);
    }
    if (queries == 1 && !context.padding_BS.defined()) {
      return at::scaled_dot_product_attention(q_BHSD, k_BHSD, v_BHSD);
    }
    return at::scaled_dot_product_attention(
        q_BHSD, k_BHSD, v_BHSD, attention_mask(queries, keys, context.padding_BS, q_BHSD.device()));
  }
  // The library's fused kernels draw dropout from a generator with state; ours is counter-based, so
  // it is applied by hand.
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_BHSD.size(3)));
  const auto hidden =
      attention_mask(queries, keys, context.padding_BS, q_BHSD.device()).logical_not();
  // The lowest finite score, not minus infinity: a query whose keys are all padding would get NaN.
  const auto score = torch::matmul(q_BHSD * scale, k_BHSD.transpose(2, 3))
                         .to(torch::promote_types(q_BHSD.scalar_type(), torch::kFloat))
                         .masked_fill(hidden, std::numeric_limits<float>::lowest());
  auto probability = torch::softmax(score, -1);
  // Such a query attends to nothing, as in the library's kernels.
  if (context.padding_BS.defined()) probability = probability.masked_fill(hidden, 0);
  EVOMOE_CHECK(queries <= kHeadStride, "attention dropout of {} queries: at most {} are possible",
               queries, kHeadStride);
  auto noise = context.noise.at(static_cast<uint32_t>(options_.layer),
                                NoiseSite::kAttentionProbabilityDropout);
  noise.sequence_length = static_cast<uint32_t>(options_.heads * kHeadStride);
  const auto rows = noise_rows(q_BHSD.size(0), options_.heads, queries, q_BHSD.device());
  return torch::matmul(philox_dropout(probability.to(q_BHSD.scalar_type()), dropout, noise, rows),
                       v_BHSD);
}

}  // namespace evomoe
