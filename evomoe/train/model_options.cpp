#include "evomoe/train/model_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "evomoe/base/error.h"
#include "evomoe/config/architectures.h"
#include "evomoe/data/dictionary.h"

namespace evomoe {
namespace {

constexpr int64_t kPairPositions = 1024, kRobertaPositions = 512;

/// What encoder and decoder of every family take alike from the options.
void fill(TransformerStackOptions& stack, const TrainOptions& options,
          const Architecture& architecture, int64_t padding_index, bool shared_expert) {
  const auto& model = options.model;
  const auto& moe = options.moe;
  stack.padding_index = padding_index;
  stack.activation = model.activation_fn.value_or(architecture.activation);
  stack.dropout = model.dropout.value_or(architecture.dropout);
  stack.attention_dropout = model.attention_dropout.value_or(architecture.attention_dropout);
  stack.activation_dropout = model.activation_dropout.value_or(architecture.activation_dropout);
  stack.no_positions = model.no_token_positional_embeddings.value_or(false);
  stack.checkpoint_activations = model.checkpoint_activations;
  stack.moe.recompute_experts = moe.recompute_experts;
  stack.moe.shared_expert = shared_expert;
  stack.embedding_norm = model.layernorm_embedding.value_or(architecture.embedding_norm);
}

/// `moe_freq` and `alternate_ffn_dim` are those of this half alone.
void fill_half(TransformerStackOptions& stack, const HalfOptions& half, int64_t moe_freq,
               int64_t alternate_ffn_dim, const TrainOptions& options,
               const Architecture& architecture) {
  stack.layers = half.layers.value_or(architecture.layers);
  stack.embed_dim = half.embed_dim.value_or(architecture.embed_dim);
  stack.ffn_dim = half.ffn_embed_dim.value_or(architecture.ffn_dim);
  stack.heads = half.attention_heads.value_or(architecture.heads);
  stack.learned_positions = half.learned_pos.value_or(architecture.learned_positions);
  stack.moe_freq = std::max(options.moe.moe_freq, moe_freq);
  stack.dense_ffn_dim_of_moe_layers = alternate_ffn_dim;
  stack.moe.router = router_options(options, stack.embed_dim);
}

void fill_decoder(TransformerStackOptions& stack, const TrainOptions& options,
                  const Architecture& architecture) {
  fill_half(stack, options.model.decoder, options.moe.decoder_moe_freq,
            options.moe.alternate_decoder_ffn_embed_dim, options, architecture);
}

void fill_encoder(TransformerStackOptions& stack, const TrainOptions& options,
                  const Architecture& architecture) {
  const auto& encoder = options.model.encoder;
  fill_half(stack, encoder, options.moe.encoder_moe_freq, options.moe.alternate_ffn_embed_dim,
            options, architecture);
  stack.norm_first = encoder.normalize_before.value_or(architecture.norm_first);
  stack.final_norm = stack.norm_first;
}

/// The architecture, which must be one for the task.
const Architecture& architecture_of(const TrainOptions& options) {
  const auto& architecture = find_architecture(options.model.arch);
  const auto family = family_of_task(options.task.task);
  if (architecture.family != family) {
    fail_usage("--arch {} is {}, but --task {} needs {}; use one of: {}", architecture.name,
               family_words(architecture.family), options.task.task, family_words(family),
               fmt::join(architecture_names(family), ", "));
  }
  return architecture;
}

}  // namespace

GptOptions gpt_options(const TrainOptions& options, int64_t vocab_size, int64_t padding_index,
                       bool shared_expert) {
  const auto& model = options.model;
  const auto& architecture = architecture_of(options);
  GptOptions gpt;
  gpt.vocab_size = vocab_size;
  fill(gpt, options, architecture, padding_index, shared_expert);
  fill_decoder(gpt, options, architecture);
  gpt.max_positions = model.max_target_positions.value_or(options.task.tokens_per_sample) +
                      (options.task.add_bos_token ? 1 : 0);
  gpt.scale_embedding = !model.no_scale_embedding.value_or(false);
  gpt.tie_embeddings = architecture.tied || model.share_decoder_input_output_embed.value_or(false);
  const bool adaptive = !architecture.cutoffs.empty();
  if (model.adaptive_input || adaptive) {
    gpt.adaptive_input = {model.adaptive_input_cutoff.value_or(architecture.cutoffs),
                          model.adaptive_input_factor.value_or(4)};
    if (!gpt.adaptive_input.used())
      fail_usage("--adaptive-input needs --adaptive-input-cutoff, e.g. 20000,60000");
  }
  if (model.adaptive_softmax_cutoff || adaptive) {
    gpt.adaptive_softmax = {
        {model.adaptive_softmax_cutoff.value_or(architecture.cutoffs),
         model.adaptive_softmax_factor.value_or(4)},
        model.tie_adaptive_weights || adaptive,
        model.tie_adaptive_proj || adaptive,
        model.adaptive_softmax_dropout.value_or(architecture.adaptive_softmax_dropout)};
  }
  gpt.final_norm = architecture.final_norm && !model.no_decoder_final_norm.value_or(false);
  return gpt;
}

RobertaOptions roberta_options(const TrainOptions& options, int64_t vocab_size,
                               int64_t padding_index, bool shared_expert) {
  const auto& model = options.model;
  const auto& architecture = architecture_of(options);
  RobertaOptions roberta;
  roberta.vocab_size = vocab_size;
  fill(roberta, options, architecture, padding_index, shared_expert);
  fill_encoder(roberta, options, architecture);
  roberta.max_positions = model.max_positions.value_or(kRobertaPositions);
  // Other blocks may be shorter, and those that are not are left out as in the reference.
  const bool whole_blocks = options.task.sample_break_mode == "none" || !model.max_positions;
  if (options.task.task == "masked_lm" && whole_blocks &&
      options.task.tokens_per_sample > roberta.max_positions) {
    fail_usage(
        "--tokens-per-sample {} is more than --max-positions {}: the model has no position for the "
        "last tokens; raise the latter or lower the former",
        options.task.tokens_per_sample, roberta.max_positions);
  }
  roberta.untie_weights = model.untie_weights_roberta;
  if (options.task.task == "sentence_prediction") {
    ClassificationHeadOptions head;
    head.name = options.task.classification_head_name;
    head.classes = options.task.num_classes;
    head.activation = model.pooler_activation_fn.value_or(head.activation);
    head.dropout = model.pooler_dropout.value_or(head.dropout);
    roberta.heads_of_sentences.push_back(head);
  }
  return roberta;
}

EncoderDecoderOptions encoder_decoder_options(const TrainOptions& options,
                                              const Vocabulary& vocabulary, bool shared_expert) {
  const auto& model = options.model;
  const auto& architecture = architecture_of(options);
  EncoderDecoderOptions pair;
  pair.encoder.half = "encoder";
  for (auto* stack : {&pair.encoder, &pair.decoder}) {
    fill(*stack, options, architecture, vocabulary.padding, shared_expert);
    stack->scale_embedding = !model.no_scale_embedding.value_or(false);
  }
  fill_encoder(pair.encoder, options, architecture);
  fill_decoder(pair.decoder, options, architecture);
  pair.encoder.vocab_size = vocabulary.source;
  pair.decoder.vocab_size = vocabulary.target;
  pair.encoder.max_positions = model.max_source_positions.value_or(kPairPositions);
  pair.decoder.max_positions = model.max_target_positions.value_or(kPairPositions);
  pair.decoder.norm_first = model.decoder.normalize_before.value_or(architecture.norm_first);
  pair.decoder.final_norm = pair.decoder.norm_first && !model.no_decoder_final_norm.value_or(false);
  pair.share_all_embeddings = model.share_all_embeddings.value_or(false);
  pair.tie_decoder_embeddings = model.share_decoder_input_output_embed.value_or(false);
  return pair;
}

std::vector<TransformerStackOptions> stack_options(const TrainOptions& options,
                                                   const Vocabulary& vocabulary,
                                                   bool shared_expert) {
  switch (architecture_of(options).family) {
    case ModelFamily::kLanguageModel:
      return {gpt_options(options, vocabulary.target, vocabulary.padding, shared_expert)};
    case ModelFamily::kRoberta:
      return {roberta_options(options, vocabulary.source, vocabulary.padding, shared_expert)};
    case ModelFamily::kEncoderDecoder: {
      const auto pair = encoder_decoder_options(options, vocabulary, shared_expert);
      return {pair.encoder, pair.decoder};
    }
  }
  fail("--arch {}: there is no such family of models", options.model.arch);
}

ModelPtr make_model(const TrainOptions& options, const Vocabulary& vocabulary, bool shared_expert) {
  switch (architecture_of(options).family) {
    case ModelFamily::kLanguageModel:
      return std::make_shared<GptImpl>(
          gpt_options(options, vocabulary.target, vocabulary.padding, shared_expert));
    case ModelFamily::kRoberta:
      return std::make_shared<RobertaImpl>(
          roberta_options(options, vocabulary.source, vocabulary.padding, shared_expert));
    case ModelFamily::kEncoderDecoder:
      return std::make_shared<EncoderDecoderImpl>(
          encoder_decoder_options(options, vocabulary, shared_expert));
  }
  fail("--arch {}: there is no such family of models", options.model.arch);
}

void check_model(const TrainOptions& options) {
  const auto padding = Dictionary::kPad;
  switch (architecture_of(options).family) {
    case ModelFamily::kLanguageModel:
      gpt_options(options, /*vocab_size=*/0, padding, /*shared_expert=*/false).validate();
      return;
    case ModelFamily::kRoberta:
      roberta_options(options, /*vocab_size=*/0, padding, /*shared_expert=*/false).validate();
      return;
    case ModelFamily::kEncoderDecoder:
      encoder_decoder_options(options, {.padding = padding}, /*shared_expert=*/false).validate();
      return;
  }
}

RouterOptions router_options(const TrainOptions& options, int64_t embed_dim) {
  return {{.method = options.moe.moe_router,
           .model_dim = embed_dim,
           .num_experts = options.moe.moe_expert_count,
           .z_loss_weight = options.criterion.moe_z_loss_wt},
          options.routers};
}

bool has_experts(const TrainOptions& options) {
  const auto& moe = options.moe;
  const auto family = family_of_task(options.task.task);
  const bool decoder = family != ModelFamily::kRoberta &&
                       std::max(moe.moe_freq, moe.decoder_moe_freq) > 0 &&
                       moe.alternate_decoder_ffn_embed_dim == 0;
  const bool encoder = family != ModelFamily::kLanguageModel &&
                       std::max(moe.moe_freq, moe.encoder_moe_freq) > 0 &&
                       moe.alternate_ffn_embed_dim == 0;
  return decoder || encoder;
}

int64_t embed_dim_of(const TrainOptions& options) {
  const auto& architecture = architecture_of(options);
  const auto& given = architecture.family == ModelFamily::kRoberta
                          ? options.model.encoder.embed_dim
                          : options.model.decoder.embed_dim;
  return given.value_or(architecture.embed_dim);
}

int64_t longest_item(const TrainOptions& options) {
  const auto& model = options.model;
  switch (architecture_of(options).family) {
    case ModelFamily::kLanguageModel:
      return model.max_target_positions.value_or(options.task.tokens_per_sample);
    case ModelFamily::kRoberta:
      return model.max_positions.value_or(kRobertaPositions);
    case ModelFamily::kEncoderDecoder:
      return model.max_target_positions.value_or(kPairPositions);
  }
  fail("--arch {}: there is no such family of models", options.model.arch);
}

std::vector<std::string> positions_options(const TrainOptions& options) {
  switch (architecture_of(options).family) {
    case ModelFamily::kLanguageModel:
      return {"--max-target-positions"};
    case ModelFamily::kRoberta:
      return {"--max-positions"};
    case ModelFamily::kEncoderDecoder:
      return {"--max-source-positions", "--max-target-positions"};
  }
  fail("--arch {}: there is no such family of models", options.model.arch);
}

int64_t longest_source(const TrainOptions& options) {
  return options.model.max_source_positions.value_or(kPairPositions);
}

void lower_positions(TrainOptions& options, const TrainOptions& other) {
  auto& model = options.model;
  model.max_source_positions = std::min(longest_source(options), longest_source(other));
  auto& longest = architecture_of(options).family == ModelFamily::kRoberta
                      ? model.max_positions
                      : model.max_target_positions;
  longest = std::min(longest_item(options), longest_item(other));
}

}  // namespace evomoe
