#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/models/gpt.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/routing/router.h"

namespace evomoe::testing {

constexpr int64_t kPad = 1, kVocabulary = 40, kPositions = 24;

/// A small language model without dropout; `method`: of its second and fourth layer, empty: dense.
inline GptOptions small_gpt(const std::string& method = "") {
  GptOptions options;
  options.vocab_size = kVocabulary;
  options.padding_index = kPad;
  options.layers = 4;
  options.embed_dim = 16;
  options.ffn_dim = 32;
  options.heads = 2;
  options.max_positions = kPositions;
  options.activation = "gelu";
  options.dropout = 0;
  if (!method.empty()) {
    options.moe_freq = 2;
    options.moe.router.method = method;
    options.moe.router.num_experts = 4;
    options.moe.router.get<CapacityOptions>().train_factor = 0;
    options.moe.router.get<CapacityOptions>().eval_fraction = -1;
  }
  return options;
}

inline Gpt make_gpt(const GptOptions& options, uint64_t seed = 3) {
  Gpt model(options);
  model->initialise(seed);
  return model;
}

/// Tokens 3 ... of `rows` sequences.
inline torch::Tensor some_tokens(int64_t rows, int64_t columns, int64_t seed = 5) {
  torch::manual_seed(seed);
  return torch::randint(3, kVocabulary, {rows, columns}, torch::kInt64);
}

/// The same with row i cut to lengths[i] tokens and filled up with padding.
inline torch::Tensor padded_tokens(const std::vector<int64_t>& lengths, int64_t columns) {
  auto token_BS = some_tokens(static_cast<int64_t>(lengths.size()), columns);
  for (size_t i = 0; i < lengths.size(); ++i) {
    token_BS[static_cast<int64_t>(i)].slice(0, lengths[i]).fill_(kPad);
  }
  return token_BS;
}

inline torch::Tensor logits_of(Gpt& model, const torch::Tensor& token_BS,
                               const ForwardContext& context) {
  return torch::matmul(model->forward(token_BS, context).x_BSD, model->output_weight().t());
}

}  // namespace evomoe::testing
