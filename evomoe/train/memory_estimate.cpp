#include "evomoe/train/memory_estimate.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "evomoe/ops/linear_cross_entropy.h"
#include "evomoe/routing/registry.h"

// All counts are of words of four bytes; letters as in docs/architecture.md: T tokens, D model
// dimension, F hidden dimension, E experts, A assignments.
namespace evomoe {
namespace {

constexpr int64_t kWord = 4;

/// Of train/gradient_sync.cpp.
constexpr int64_t kGradientBucket = int64_t{25} << 20;

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

/// The parameters of a model, or of a part of it.
class Parameters {
 public:
  /// `used`: the loss depends on it, so that it has a gradient if it is not frozen.
  void add(ParameterKind kind, std::vector<int64_t> sizes, bool used = true) {
    int64_t words = 1;
    for (const auto size : sizes) words *= size;
    all_.push_back({kind, std::move(sizes), words, used});
  }
  void add_linear(int64_t rows, int64_t columns, bool bias = true) {
    add(ParameterKind::kMatrix, {rows, columns});
    if (bias) add(ParameterKind::kBias, {rows});
  }
  void add(const Parameters& others) {
    all_.insert(all_.end(), others.all_.begin(), others.all_.end());
  }
  PartParameters bytes(const StateBytes& of) const {
    PartParameters bytes;
    for (const auto& each : all_) {
      const auto of_kind = [&](ParameterBytes& of_all) -> int64_t& {
        return each.kind == ParameterKind::kExpert ? of_all.experts : of_all.others;
      };
      of_kind(bytes.all) += kWord * each.words;
      const auto state = each.used ? of(each.kind, each.sizes) : kFrozen;
      if (state == kFrozen) continue;
      of_kind(bytes.trained) += kWord * each.words;
      of_kind(bytes.moments) += state;
    }
    return bytes;
  }

 private:
  struct Parameter {
    ParameterKind kind;
    std::vector<int64_t> sizes;
    int64_t words;
    bool used;
  };
  std::vector<Parameter> all_;
};

/// a + sign * b.
PartParameters added(const PartParameters& a, const PartParameters& b, int64_t sign = 1) {
  const auto add = [sign](const ParameterBytes& x, const ParameterBytes& y) {
    return ParameterBytes{x.experts + sign * y.experts, x.others + sign * y.others};
  };
  return {add(a.all, b.all), add(a.trained, b.trained), add(a.moments, b.moments)};
}

/// An encoder or a decoder, without an output projection. What cross-attention reads has as many
/// tokens as the stack itself: both are at most what a batch may have.
class StackCounter {
 public:
  StackCounter(const TransformerStackOptions& model, const LargestBatch& batch)
      : model_(model),
        batch_(batch),
        attention_(model.attention()),
        T_(batch.tokens),
        D_(model.embed_dim),
        expert_dim_(model.expert_dim()),
        Q_(attention_.query_width()),
        K_(attention_.key_width()) {
    if (has_moe()) {
      auto router = model.moe.router;
      router.model_dim = D_;
      assignments_ = most_assignments(*make_router(router), batch.moe_tokens);
    }
  }

  Parameters parameters(bool with_embedding = true) const {
    const auto positions = model_.max_positions + model_.padding_index + 1;
    Parameters all;
    if (with_embedding) all.add(ParameterKind::kEmbedding, {model_.vocab_size, D_});
    if (model_.positions == PositionKind::kLearned)
      all.add(ParameterKind::kEmbedding, {positions, D_});
    const auto norms = (model_.embedding_norm ? 1 : 0) + (model_.final_norm ? 1 : 0);
    add_norms(all, norms);
    for (int64_t i = 0; i < model_.layers; ++i) add_block(all, i);
    return all;
  }

  std::vector<Parameters> blocks() const {
    std::vector<Parameters> blocks(static_cast<size_t>(model_.layers));
    for (int64_t i = 0; i < model_.layers; ++i) add_block(blocks[static_cast<size_t>(i)], i);
    return blocks;
  }

  /// What ops/tied_embedding.h keeps: the rows that were looked up.
  int64_t tied_embedding() const { return T_ * D_; }

  int64_t constants() const {
    if (model_.positions != PositionKind::kSinusoidal) return 0;
    return (model_.max_positions + model_.padding_index + 1) * D_;
  }

  int64_t activations() const {
    int64_t words = T_ * D_;  // the embedded tokens
    const auto norms = (model_.final_norm ? 1 : 0) + (model_.embedding_norm ? 1 : 0);
    words += norms * (T_ * D_ + kept_of_norm());
    // Cosines and sines of a head's width, for all layers.
    if (model_.positions == PositionKind::kRotary) words += T_ * attention_.head_width();
    // One mask for all layers. By-hand attention does not keep it, but recomputation does.
    const bool keeps_mask = model_.attention_dropout == 0 || model_.checkpoint_activations;
    const bool limited = model_.window > 0 && batch_.columns > model_.window;
    if ((batch_.segments || limited) && keeps_mask) words += T_ * batch_.columns;
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
  bool is_moe(int64_t layer) const { return model_.is_moe(layer); }
  int64_t E() const { return model_.moe.router.num_experts; }
  /// Of the dense feed-forward block, which is beside the experts if it is there in an MoE layer.
  int64_t hidden(int64_t layer) const { return model_.dense_ffn_dim(layer); }
  ExpertForm experts() const {
    return {.experts = E(),
            .model_dim = D_,
            .hidden_dim = expert_dim_,
            .gated = model_.moe.gated,
            .biases = model_.moe.biases};
  }

  void add_block(Parameters& all, int64_t layer) const {
    add_norms(all, model_.cross_attention ? 3 : 2);
    for (int j = 0; j < (model_.cross_attention ? 2 : 1); ++j) add_attention(all);
    if (hidden(layer) > 0) {
      all.add_linear(hidden(layer), D_, model_.ffn_bias);
      all.add_linear(D_, hidden(layer), model_.ffn_bias);
      if (model_.gated) all.add_linear(hidden(layer), D_, /*bias=*/false);
    }
    if (!is_moe(layer)) return;
    for_each_weight(
        [&](const std::vector<int64_t>& shape) {
          if (!shape.empty()) all.add(ParameterKind::kExpert, shape);
        },
        expert_shapes(experts()));
    all.add(ParameterKind::kRouter, {E(), D_});
  }

  void add_attention(Parameters& all) const {
    const auto& bias = attention_.bias;
    for (const auto width : {Q_, K_, K_}) all.add_linear(width, D_, bias != "none");
    all.add_linear(D_, Q_, bias == "all");
    if (attention_.query_key_norm == "none") return;
    const bool by_head = attention_.query_key_norm == "head";
    for (const auto width : {Q_, K_}) add_norms(all, 1, by_head ? attention_.head_width() : width);
  }

  bool rms_norm() const { return model_.norm.kind == NormKind::kRmsNorm; }

  void add_norms(Parameters& all, int64_t norms) const { add_norms(all, norms, D_); }
  void add_norms(Parameters& all, int64_t norms, int64_t width) const {
    for (int64_t i = 0; i < (rms_norm() ? 1 : 2) * norms; ++i)
      all.add(ParameterKind::kNorm, {width});
  }

  /// Beside its input and output: mean and deviation, or the root mean square.
  int64_t kept_of_norm() const { return kept_of_norm(T_); }
  int64_t kept_of_norm(int64_t rows) const { return (rms_norm() ? 1 : 2) * rows; }

  /// Of the norms of queries and keys, with what goes in.
  int64_t kept_of_query_key_norm() const {
    const auto& kind = attention_.query_key_norm;
    if (kind == "none") return 0;
    int64_t words = T_ * (Q_ + K_);
    for (const auto width : {Q_, K_}) {
      const auto of_row = kind == "head" ? attention_.head_width() : width;
      words += kept_of_norm(T_ * width / of_row);
    }
    return words;
  }

  int64_t kept_of_attention() const {
    const auto H = model_.heads, S = batch_.columns;
    // Normed input, query, key and value of each head of queries, and output; statistics of the
    // norms and of the softmax, or its probabilities before and after dropout.
    return T_ * D_ + 4 * T_ * Q_ + kept_of_norm() + kept_of_query_key_norm() +
           (model_.attention_dropout > 0 ? 2 * T_ * H * S : T_ * H);
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
    if (!model_.moe.recompute_experts)
      words += (model_.moe.gated ? 2 : 1) * assignments_.all * expert_dim_;
    if (batch_.moe_tokens > T_) words += batch_.moe_tokens * D_;
    return words;
  }

  int64_t kept_of_hidden(int64_t layer) const {
    // A dense feed-forward block is an expert that has every token.
    return (is_moe(layer) ? kept_of_experts() : 0) + (model_.gated ? 2 : 1) * T_ * hidden(layer);
  }

  int64_t kept_of_block(int64_t layer) const {
    // Between its halves the sum and its norm, at the end the sum.
    return kept_of_attention() + kept_of_cross_attention() + 3 * T_ * D_ + kept_of_norm() +
           kept_of_hidden(layer);
  }

  /// The larger one of the halves of a block, the second of which gives back what it kept before
  /// the first one runs.
  int64_t backward_of_block(int64_t layer) const {
    // One after the other, each with the gradient of the input that both have.
    const auto hidden_half = std::max(is_moe(layer) ? backward_of_experts() : 0,
                                      hidden(layer) > 0 ? backward_of_feed_forward(layer) : 0);
    auto attention = T_ * D_ + 4 * T_ * Q_ + 2 * D_ * (Q_ + K_) - kept_of_hidden(layer);
    if (model_.attention_dropout > 0) attention += 2 * T_ * model_.heads * batch_.columns;
    return 3 * T_ * D_ + std::max(hidden_half, attention);
  }

  int64_t backward_of_feed_forward(int64_t layer) const {
    const auto H = hidden(layer);
    return expert_numel(model_.dense_form(layer)) +
           block_of_rows(T_, H) * ((model_.gated ? 3 : 2) * H + 2 * D_);
  }

  /// The gradients of all weights at once and the buffers of one expert; of several, when they have
  /// few rows and run side by side.
  int64_t backward_of_experts() const {
    const auto& [all, largest] = assignments_;
    const bool side_by_side = largest < kLongRows && at::get_num_threads() > 1;
    const auto workers = side_by_side ? std::min<int64_t>(E(), at::get_num_threads()) : 1;
    // act, its gradient and that of x w3^T; what is made again.
    const auto hidden = (model_.moe.gated ? 3 : 2) + (!model_.moe.recompute_experts ? 0
                                                      : model_.moe.gated            ? 2
                                                                                    : 1);
    const auto buffers = hidden * expert_dim_ + 2 * D_;
    return expert_numel(experts()) + workers * block_of_rows(largest, expert_dim_) * buffers +
           (side_by_side && all > batch_.moe_tokens ? all * D_ : 0);
  }

  const TransformerStackOptions& model_;
  const LargestBatch& batch_;
  AttentionOptions attention_;
  int64_t T_, D_, expert_dim_;
  int64_t Q_, K_;  ///< widths of all queries of a token, and of all keys
  Assignments assignments_;
};

/// The logits of some of the rows, and the gradient of the output embeddings as the forward pass
/// makes it.
int64_t of_loss(int64_t rows, int64_t vocabulary, int64_t dim) {
  return logit_rows(rows, vocabulary) * vocabulary + vocabulary * dim;
}

struct Words {
  Parameters parameters;
  int64_t constants = 0;
  int64_t activations = 0;
  /// The sum of the loss's and a layer's: one after the other, but not always in the same memory,
  /// as a block of one need not fit into the gaps that the other left.
  int64_t workspace = 0;
  std::vector<Parameters> blocks;  ///< the parameters of each
};

Words words_of(const StackCounter& stack) {
  return {.parameters = stack.parameters(),
          .constants = stack.constants(),
          .activations = stack.activations(),
          .workspace = stack.workspace(),
          .blocks = stack.blocks()};
}

MemoryEstimate in_bytes(const Words& words, const StateBytes& state) {
  MemoryEstimate estimate;
  const auto model = words.parameters.bytes(state);
  estimate.outside = model;
  for (const auto& block : words.blocks) {
    estimate.blocks.push_back(block.bytes(state));
    estimate.outside = added(estimate.outside, estimate.blocks.back(), -1);
  }
  estimate.parameters = model.all.sum() + kWord * words.constants;
  estimate.gradients = model.trained.sum();
  estimate.moments = model.moments.sum();
  estimate.activations = kWord * words.activations;
  estimate.workspace = kWord * words.workspace;
  return estimate;
}

}  // namespace

PartParameters MemoryEstimate::model() const {
  auto sum = outside;
  for (const auto& block : blocks) sum = added(sum, block);
  return sum;
}

MemoryEstimate share_of_rank(const MemoryEstimate& whole, const RankDivision& division) {
  if (division.ranks == 1) return whole;
  const auto stage = division.zero_stage;
  const auto of_rank = [&](const ParameterBytes& bytes) {
    return bytes.of_rank(division.expert_ranks);
  };
  const auto model = whole.model();
  const auto all = of_rank(model.all), trained = of_rank(model.trained);
  const auto outside = of_rank(whole.outside.all), trained_outside = of_rank(whole.outside.trained);
  int64_t block = 0, trained_block = 0;  // of the largest
  for (const auto& each : whole.blocks) {
    block = std::max(block, of_rank(each.all));
    trained_block = std::max(trained_block, of_rank(each.trained));
  }
  // What ranks divide evenly.
  const auto part = model.trained.sum() / division.ranks;
  auto share = whole;
  share.parameters = whole.parameters - model.all.sum() + all;
  share.gradients = trained;
  share.moments = stage >= 1 ? model.moments.sum() / division.ranks : of_rank(model.moments);
  if (stage == 2) {
    const auto bucket = std::min(std::max(kGradientBucket, trained_outside), trained);
    share.gradients = part + trained_block + 4 * bucket;
  }
  if (stage == 3) {
    const auto at_once = division.keep_whole ? all : std::min(all, outside + 2 * block);
    share.parameters += model.all.sum() / division.ranks + at_once - all;
    share.gradients = part + 2 * trained_outside + 5 * trained_block;
  }
  return share;
}

MemoryEstimate estimate_memory(const GptOptions& model, const LargestBatch& batch,
                               const StateBytes& state) {
  const StackCounter stack(model, batch);
  auto words = words_of(stack);
  if (model.tie_embeddings) {
    words.activations += stack.tied_embedding();
  } else {
    words.parameters.add(ParameterKind::kHead, {model.vocab_size, model.embed_dim});
  }
  words.workspace += of_loss(batch.tokens, model.vocab_size, model.embed_dim);
  return in_bytes(words, state);
}

MemoryEstimate estimate_memory(const RobertaOptions& model, const LargestBatch& batch,
                               const StateBytes& state) {
  const StackCounter stack(model, batch);
  const auto V = model.vocab_size, D = model.embed_dim;
  const bool predicts_tokens = model.heads_of_sentences.empty();
  auto words = words_of(stack);
  const auto add_head = [&](std::vector<int64_t> sizes, bool used) {
    words.parameters.add(ParameterKind::kHead, std::move(sizes), used);
  };
  add_head({D, D}, predicts_tokens);
  add_head({D}, predicts_tokens);
  const int of_norm = model.norm.kind == NormKind::kRmsNorm ? 1 : 2;
  for (int i = 0; i < of_norm; ++i)
    words.parameters.add(ParameterKind::kNorm, {D}, predicts_tokens);
  add_head({V}, predicts_tokens);
  if (model.untie_weights) {
    add_head({V, D}, predicts_tokens);
  } else {
    words.activations += stack.tied_embedding();
  }
  for (const auto& head : model.heads_of_sentences) {
    add_head({D, D}, true);
    add_head({D}, true);
    add_head({head.classes, D}, true);
    add_head({head.classes}, true);
  }
  // Features of the predicted tokens, before and after the activation, and their norm.
  if (predicts_tokens) words.workspace += 4 * batch.predicted * D + of_loss(batch.predicted, V, D);
  return in_bytes(words, state);
}

MemoryEstimate estimate_memory(const EncoderDecoderOptions& model, const LargestBatch& batch,
                               const StateBytes& state) {
  auto with_cross_attention = model.decoder;
  with_cross_attention.cross_attention = true;
  const StackCounter encoder(model.encoder, batch), decoder(with_cross_attention, batch);
  const auto source = words_of(encoder);
  auto words = words_of(decoder);
  words.parameters = decoder.parameters(/*with_embedding=*/!model.share_all_embeddings);
  words.parameters.add(source.parameters);
  words.blocks.insert(words.blocks.begin(), source.blocks.begin(), source.blocks.end());
  words.constants += source.constants;
  words.activations += source.activations;
  if (model.share_all_embeddings) {
    words.activations += encoder.tied_embedding() + decoder.tied_embedding();
  } else if (model.tie_decoder_embeddings) {
    words.activations += decoder.tied_embedding();
  } else {
    words.parameters.add(ParameterKind::kHead, {model.decoder.vocab_size, model.decoder.embed_dim});
  }
  words.workspace = std::max(source.workspace, words.workspace) +
                    of_loss(batch.tokens, model.decoder.vocab_size, model.decoder.embed_dim);
  return in_bytes(words, state);
}

}  // namespace evomoe
