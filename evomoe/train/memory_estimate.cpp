#include "evomoe/train/memory_estimate.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "evomoe/ops/linear_cross_entropy.h"
#include "evomoe/routing/registry.h"

// All counts are of words of four bytes; letters as in docs/architecture.md: T tokens, D model
// dimension, F hidden dimension, E experts, A assignments.
namespace evomoe {
namespace {

constexpr int64_t kWord = 4;

// How kernels/cpu/expert_mlp.cpp goes through the rows of an expert.
constexpr int64_t kBlockWords = int64_t{1} << 21, kLeastBlockRows = 256, kLongRows = 1024;

int64_t block_of_rows(int64_t rows, int64_t hidden) {
  return std::min(rows, std::max(kLeastBlockRows, kBlockWords / hidden));
}

/// What an MoE layer can be asked for.
struct Assignments {
  int64_t all = 0;      ///< A
  int64_t largest = 0;  ///< of one expert
};

Assignments most_assignments(const Router& router, int64_t tokens) {
  const auto experts = router.num_experts();
  const auto capacity = router.capacity(tokens, /*training=*/true);
  const auto largest = std::min(tokens, capacity.value_or(tokens));
  return {std::min(tokens * router.most_experts_per_token(), experts * largest), largest};
}

/// An encoder or a decoder, without an output projection. What cross-attention reads has as many
/// tokens as the stack itself: both are at most what a batch may have.
class StackCounter {
 public:
  StackCounter(const TransformerStackOptions& model, const LargestBatch& batch)
      : model_(model), batch_(batch), T_(batch.tokens), D_(model.embed_dim), F_(model.ffn_dim) {
    if (has_moe()) {
      auto router = model.moe.router;
      router.model_dim = D_;
      assignments_ = most_assignments(*make_router(router), batch.moe_tokens);
    }
  }

  int64_t parameters() const {
    const auto positions = model_.max_positions + model_.padding_index + 1;
    int64_t count = embedding();
    if (model_.learned_positions) count += positions * D_;
    count += 2 * D_ * ((model_.embedding_norm ? 1 : 0) + (model_.final_norm ? 1 : 0));
    for (int64_t i = 0; i < model_.layers; ++i) {
      count += 4 * (D_ * D_ + D_) + 4 * D_;  // attention, norms
      if (model_.cross_attention) count += 4 * (D_ * D_ + D_) + 2 * D_;
      count += is_moe(i) ? E() * (expert_parameters() + D_) : dense_parameters(hidden(i));
    }
    return count;
  }

  int64_t embedding() const { return model_.vocab_size * D_; }
  /// What ops/tied_embedding.h keeps: the rows that were looked up.
  int64_t tied_embedding() const { return T_ * D_; }

  int64_t constants() const {
    if (model_.learned_positions || model_.no_positions) return 0;
    return (model_.max_positions + model_.padding_index + 1) * D_;
  }

  int64_t activations() const {
    int64_t words = T_ * D_;  // the embedded tokens
    if (model_.final_norm) words += T_ * D_ + 2 * T_;
    if (model_.embedding_norm) words += T_ * D_ + 2 * T_;
    for (int64_t i = 0; i < model_.layers; ++i)
      words += model_.checkpoint_activations ? T_ * D_ : kept_of_block(i);
    return words;
  }

  int64_t workspace() const {
    int64_t most = 0;
    for (int64_t i = 0; i < model_.layers; ++i) {
      const auto again = model_.checkpoint_activations ? kept_of_block(i) : 0;
      most = std::max(most, again + backward_of_block(i));
    }
    // The gradient of what cross-attention reads comes from all blocks.
    return most + (model_.cross_attention ? T_ * D_ : 0);
  }

 private:
  bool has_moe() const { return model_.moe_freq > 0 && model_.dense_ffn_dim_of_moe_layers == 0; }
  bool is_moe(int64_t layer) const { return has_moe() && (layer + 1) % model_.moe_freq == 0; }
  int64_t E() const { return model_.moe.router.num_experts; }
  int64_t hidden(int64_t layer) const {
    const bool other = model_.moe_freq > 0 && (layer + 1) % model_.moe_freq == 0;
    return other ? model_.dense_ffn_dim_of_moe_layers : F_;
  }
  int64_t dense_parameters(int64_t hidden) const { return 2 * D_ * hidden + hidden + D_; }
  int64_t expert_parameters() const { return dense_parameters(F_); }

  int64_t kept_of_attention() const {
    const auto H = model_.heads, S = batch_.columns;
    // Normed input, query, key, value and output; statistics of the norm and of the softmax, or its
    // probabilities before and after dropout.
    return 5 * T_ * D_ + 2 * T_ + (model_.attention_dropout > 0 ? 2 * T_ * H * S : T_ * H);
  }

  /// As of the attention to itself, and the sum between both.
  int64_t kept_of_cross_attention() const {
    if (!model_.cross_attention) return 0;
    // Targets differ in length, so that each sequence has a mask of its own.
    const auto mask = model_.attention_dropout > 0 ? 0 : T_ * batch_.columns;
    return kept_of_attention() + T_ * D_ + mask;
  }

  int64_t kept_of_experts() const {
    // Token, combine weight and its place in the matrix of weights; the router's probabilities.
    int64_t words = 5 * assignments_.all + batch_.moe_tokens * E();
    if (!model_.moe.recompute_experts) words += assignments_.all * F_;
    if (batch_.moe_tokens > T_) words += batch_.moe_tokens * D_;
    return words;
  }

  int64_t kept_of_hidden(int64_t layer) const {
    // A dense feed-forward block is an expert that has every token.
    return is_moe(layer) ? kept_of_experts() : T_ * hidden(layer);
  }

  int64_t kept_of_block(int64_t layer) const {
    // Between its halves the sum and its norm, at the end the sum.
    return kept_of_attention() + kept_of_cross_attention() + 3 * T_ * D_ + 2 * T_ +
           kept_of_hidden(layer);
  }

  /// The larger one of the halves of a block, the second of which gives back what it kept before
  /// the first one runs.
  int64_t backward_of_block(int64_t layer) const {
    const auto hidden_half =
        is_moe(layer) ? backward_of_experts() : backward_of_feed_forward(layer);
    auto attention = 5 * T_ * D_ + 4 * D_ * D_ - kept_of_hidden(layer);
    if (model_.attention_dropout > 0) attention += 2 * T_ * model_.heads * batch_.columns;
    return 3 * T_ * D_ + std::max(hidden_half, attention);
  }

  int64_t backward_of_feed_forward(int64_t layer) const {
    const auto H = hidden(layer);
    return dense_parameters(H) + block_of_rows(T_, H) * (2 * H + 2 * D_);
  }

  /// The gradients of all weights at once and the buffers of one expert; of several, when they have
  /// few rows and run side by side.
  int64_t backward_of_experts() const {
    const auto& [all, largest] = assignments_;
    const bool side_by_side = largest < kLongRows && at::get_num_threads() > 1;
    const auto workers = side_by_side ? std::min<int64_t>(E(), at::get_num_threads()) : 1;
    const auto buffers = (model_.moe.recompute_experts ? 3 : 2) * F_ + 2 * D_;
    return E() * expert_parameters() + workers * block_of_rows(largest, F_) * buffers +
           (side_by_side && all > batch_.moe_tokens ? all * D_ : 0);
  }

  const TransformerStackOptions& model_;
  const LargestBatch& batch_;
  int64_t T_, D_, F_;
  Assignments assignments_;
};

/// The logits of some of the rows, and the gradient of the output embeddings as the forward pass
/// makes it.
int64_t of_loss(int64_t rows, int64_t vocabulary, int64_t dim) {
  return logit_rows(rows, vocabulary) * vocabulary + vocabulary * dim;
}

struct Words {
  int64_t parameters = 0;
  int64_t without_gradient = 0;  ///< of the parameters
  int64_t constants = 0;
  int64_t activations = 0;
  /// The sum of the loss's and a layer's: one after the other, but not always in the same memory,
  /// as a block of one need not fit into the gaps that the other left.
  int64_t workspace = 0;
};

Words words_of(const StackCounter& stack) {
  return {.parameters = stack.parameters(),
          .constants = stack.constants(),
          .activations = stack.activations(),
          .workspace = stack.workspace()};
}

MemoryEstimate in_bytes(const Words& words) {
  const auto trained = words.parameters - words.without_gradient;
  MemoryEstimate estimate;
  estimate.parameters = kWord * (words.parameters + words.constants);
  estimate.gradients = kWord * trained;
  estimate.moments = 2 * kWord * trained;
  estimate.activations = kWord * words.activations;
  estimate.workspace = kWord * words.workspace;
  return estimate;
}

}  // namespace

MemoryEstimate estimate_memory(const GptOptions& model, const LargestBatch& batch) {
  const StackCounter stack(model, batch);
  auto words = words_of(stack);
  if (model.tie_embeddings) {
    words.activations += stack.tied_embedding();
  } else {
    words.parameters += stack.embedding();
  }
  words.workspace += of_loss(batch.tokens, model.vocab_size, model.embed_dim);
  return in_bytes(words);
}

MemoryEstimate estimate_memory(const RobertaOptions& model, const LargestBatch& batch) {
  const StackCounter stack(model, batch);
  const auto V = model.vocab_size, D = model.embed_dim;
  auto words = words_of(stack);
  // Dense layer, norm, bias; and the output embeddings.
  const auto of_tokens = D * D + 3 * D + V + (model.untie_weights ? V * D : 0);
  words.parameters += of_tokens;
  if (!model.untie_weights) words.activations += stack.tied_embedding();
  for (const auto& head : model.heads_of_sentences)
    words.parameters += D * D + D + head.classes * (D + 1);
  if (!model.heads_of_sentences.empty()) {
    words.without_gradient = of_tokens;
    return in_bytes(words);
  }
  // Features of the predicted tokens, before and after the activation, and their norm.
  words.workspace += 4 * batch.predicted * D + of_loss(batch.predicted, V, D);
  return in_bytes(words);
}

MemoryEstimate estimate_memory(const EncoderDecoderOptions& model, const LargestBatch& batch) {
  auto with_cross_attention = model.decoder;
  with_cross_attention.cross_attention = true;
  const StackCounter encoder(model.encoder, batch), decoder(with_cross_attention, batch);
  const auto source = words_of(encoder), target = words_of(decoder);
  Words words;
  words.parameters = source.parameters + target.parameters;
  words.constants = source.constants + target.constants;
  words.activations = source.activations + target.activations;
  if (model.share_all_embeddings) {
    words.parameters -= decoder.embedding();
    words.activations += encoder.tied_embedding() + decoder.tied_embedding();
  } else if (model.tie_decoder_embeddings) {
    words.activations += decoder.tied_embedding();
  } else {
    words.parameters += decoder.embedding();
  }
  words.workspace = std::max(source.workspace, target.workspace) +
                    of_loss(batch.tokens, model.decoder.vocab_size, model.decoder.embed_dim);
  return in_bytes(words);
}

}  // namespace evomoe
