// Decoder-only Transformers that predict the next token: GPT.
#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/fairseq/fairseq_tensors.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_family.h"

namespace evomoe {
namespace {

/// What today's decoders have beside the reference's.
void fill_form(GptOptions& gpt, const DecoderFormOptions& given, const Architecture& architecture) {
  const auto form = given.applied_to(architecture.form);
  gpt.norm = {.kind = form.norm == "rms_norm" ? NormKind::kRmsNorm : NormKind::kLayerNorm,
              .eps = form.norm_eps};
  gpt.gated = gpt.moe.gated = form.gated_ffn;
  gpt.ffn_bias = gpt.moe.biases = form.ffn_bias;
  gpt.attention_bias = form.attention_bias;
  gpt.query_key_norm = form.query_key_norm;
  gpt.kv_heads = form.kv_heads;
  gpt.head_dim = form.head_dim;
  gpt.window = form.sliding_window;
  gpt.rotary = form.rotary;
}

/// The positions with --decoder-rotary-pos, which stands beside the other words for them.
PositionKind with_rotary(PositionKind kind, const ModelOptions& model) {
  const auto& rotary = model.form.rotary_pos;
  if (rotary.value_or(false)) {
    if (model.decoder.learned_pos.value_or(false))
      fail_usage("--decoder-rotary-pos and --decoder-learned-pos exclude each other; use one");
    if (kind == PositionKind::kNone) {
      fail_usage(
          "--decoder-rotary-pos and --no-token-positional-embeddings exclude each other; use one");
    }
    return PositionKind::kRotary;
  }
  return rotary && kind == PositionKind::kRotary ? PositionKind::kSinusoidal : kind;
}

/// Refuses what is said of rotary positions where there are none.
void check_rotary(const GptOptions& gpt, const DecoderFormOptions& given) {
  if (gpt.positions == PositionKind::kRotary) return;
  const auto refuse = [](const char* flag, const auto& value) {
    if (value)
      fail_usage("--{} {} needs rotary positions: give --decoder-rotary-pos", flag, *value);
  };
  refuse("rotary-base", given.rotary_base);
  refuse("rotary-scaling", given.rotary_scaling);
  refuse("rotary-factor", given.rotary_factor);
  refuse("rotary-low-factor", given.rotary_low_factor);
  refuse("rotary-high-factor", given.rotary_high_factor);
  refuse("rotary-original-positions", given.rotary_original_positions);
}

}  // namespace

GptOptions gpt_options(const TrainOptions& options, int64_t vocab_size, int64_t padding_index,
                       bool shared_expert) {
  const auto& model = options.model;
  const auto& architecture = architecture_of(options);
  GptOptions gpt;
  gpt.vocab_size = vocab_size;
  fill_stack(gpt, options, architecture, padding_index, shared_expert);
  fill_decoder(gpt, options, architecture);
  fill_form(gpt, model.form, architecture);
  gpt.positions = with_rotary(gpt.positions, model);
  check_rotary(gpt, model.form);
  gpt.max_positions = model.max_target_positions.value_or(options.task.tokens_per_sample) +
                      (options.task.add_bos_token ? 1 : 0);
  gpt.scale_embedding = !model.no_scale_embedding.value_or(!architecture.scale_embedding);
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

namespace {

/// As Llama has it: RMSNorm, rotary positions, SwiGLU, no biases, no dropout.
Architecture modern(Architecture of) {
  of.activation = "silu";
  of.positions = PositionKind::kRotary;
  of.dropout = 0;
  of.scale_embedding = false;
  of.form.norm = "rms_norm";
  of.form.gated_ffn = true;
  of.form.ffn_bias = false;
  of.form.attention_bias = "none";
  return of;
}

/// The same with experts in all layers: the `k` most probable ones of a token, dropless. Their
/// weights are divided by their sum, or `raw`.
Architecture modern_moe(Architecture of, int64_t experts, int64_t k, bool raw = false) {
  of.moe = {
      {"moe-freq", 1}, {"moe-router", "topk"},         {"moe-expert-count", experts},
      {"moe-k", k},    {"moe-no-normalize-topk", raw}, {"moe-train-capacity-token-fraction", 0.0}};
  return modern(std::move(of));
}

Architecture olmoe(Architecture of, int64_t experts, int64_t k) {
  of.form.query_key_norm = "width";
  return modern_moe(std::move(of), experts, k, /*raw=*/true);
}

Architecture mixtral(Architecture of, int64_t experts, int64_t k) {
  of.form.rotary.base = 1e6;
  return modern_moe(std::move(of), experts, k);
}

Architecture qwen3_moe(Architecture of, int64_t experts, int64_t k) {
  of.form.norm_eps = 1e-6;
  of.form.query_key_norm = "head";
  of.form.rotary.base = 1e6;
  return modern_moe(std::move(of), experts, k);
}

std::vector<Architecture> modern_architectures() {
  // clang-format off
  return {
      modern({.name = "llama_tiny", .layers = 2, .embed_dim = 64, .ffn_dim = 176, .heads = 4,
              .form = {.kv_heads = 2}}),
      modern({.name = "llama_small", .layers = 12, .embed_dim = 768, .ffn_dim = 2048, .heads = 12,
              .form = {.kv_heads = 4}}),
      modern({.name = "llama_3_2_1b", .layers = 16, .embed_dim = 2048, .ffn_dim = 8192,
              .heads = 32, .tied = true,
              .form = {.rotary = {.base = 5e5, .scaling = "llama3", .factor = 32}, .kv_heads = 8}}),
      modern({.name = "llama_3_8b", .layers = 32, .embed_dim = 4096, .ffn_dim = 14336,
              .heads = 32, .form = {.rotary = {.base = 5e5}, .kv_heads = 8}}),
      olmoe({.name = "olmoe_tiny", .layers = 2, .embed_dim = 64, .ffn_dim = 64, .heads = 4}, 8, 2),
      olmoe({.name = "olmoe_small", .layers = 12, .embed_dim = 512, .ffn_dim = 256, .heads = 8},
            32, 4),
      olmoe({.name = "olmoe_1b_7b", .layers = 16, .embed_dim = 2048, .ffn_dim = 1024, .heads = 16},
            64, 8),
      mixtral({.name = "mixtral_tiny", .layers = 2, .embed_dim = 64, .ffn_dim = 128, .heads = 4,
               .form = {.kv_heads = 2}}, 4, 2),
      mixtral({.name = "mixtral_small", .layers = 12, .embed_dim = 512, .ffn_dim = 1024,
               .heads = 8, .form = {.kv_heads = 2}}, 8, 2),
      mixtral({.name = "mixtral_8x7b", .layers = 32, .embed_dim = 4096, .ffn_dim = 14336,
               .heads = 32, .form = {.kv_heads = 8}}, 8, 2),
      qwen3_moe({.name = "qwen3_moe_tiny", .layers = 2, .embed_dim = 64, .ffn_dim = 64, .heads = 4,
                 .form = {.kv_heads = 2, .head_dim = 32}}, 8, 2),
      qwen3_moe({.name = "qwen3_moe_small", .layers = 12, .embed_dim = 512, .ffn_dim = 256,
                 .heads = 8, .form = {.kv_heads = 2, .head_dim = 128}}, 32, 4),
      qwen3_moe({.name = "qwen3_moe_30b_a3b", .layers = 48, .embed_dim = 2048, .ffn_dim = 768,
                 .heads = 32, .form = {.kv_heads = 4, .head_dim = 128}}, 128, 8),
  };
  // clang-format on
}

std::vector<Architecture> language_model_architectures() {
  // clang-format off
  std::vector<Architecture> all = {
      {.name = "transformer_lm", .layers = 6, .embed_dim = 512, .ffn_dim = 2048, .heads = 8},
      {.name = "transformer_lm_big", .layers = 12, .embed_dim = 1024, .ffn_dim = 4096,
       .heads = 16},
      {.name = "transformer_lm_gpt", .layers = 12, .embed_dim = 768, .ffn_dim = 3072, .heads = 12,
       .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gptsmall_moe", .layers = 12, .embed_dim = 768, .ffn_dim = 3072,
       .heads = 12, .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gptmedium_moe", .layers = 24, .embed_dim = 1024, .ffn_dim = 4096,
       .heads = 16, .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gptxl_moe", .layers = 48, .embed_dim = 1600, .ffn_dim = 6400,
       .heads = 25, .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gpt2_tiny", .layers = 2, .embed_dim = 64, .ffn_dim = 64, .heads = 1,
       .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gpt2_small", .layers = 24, .embed_dim = 1024, .ffn_dim = 4096,
       .heads = 16, .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gpt2_medium", .layers = 36, .embed_dim = 1280, .ffn_dim = 5120,
       .heads = 20, .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gpt2_big", .layers = 40, .embed_dim = 1600, .ffn_dim = 6400,
       .heads = 25, .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gpt2_big_wide", .layers = 24, .embed_dim = 2048, .ffn_dim = 8192,
       .heads = 32, .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gpt2_bigger", .layers = 48, .embed_dim = 2048, .ffn_dim = 8192,
       .heads = 32, .activation = "gelu", .attention_dropout = .1},
      {.name = "transformer_lm_gpt3_small", .layers = 12, .embed_dim = 768, .ffn_dim = 3072,
       .heads = 12, .activation = "gelu", .positions = PositionKind::kLearned, .dropout = .0, .tied = true},
      {.name = "transformer_lm_gpt3_medium", .layers = 24, .embed_dim = 1024, .ffn_dim = 4096,
       .heads = 16, .activation = "gelu", .positions = PositionKind::kLearned, .dropout = .0, .tied = true},
      {.name = "transformer_lm_gpt3_large", .layers = 24, .embed_dim = 1536, .ffn_dim = 6144,
       .heads = 16, .activation = "gelu", .positions = PositionKind::kLearned, .dropout = .0, .tied = true},
      {.name = "transformer_lm_gpt3_xl", .layers = 24, .embed_dim = 2048, .ffn_dim = 8192,
       .heads = 32, .activation = "gelu", .positions = PositionKind::kLearned, .dropout = .0, .tied = true},
      {.name = "transformer_lm_gpt3_2_7", .layers = 32, .embed_dim = 2560, .ffn_dim = 10240,
       .heads = 32, .activation = "gelu", .positions = PositionKind::kLearned, .dropout = .0, .tied = true},
      {.name = "transformer_lm_gpt3_6_7", .layers = 32, .embed_dim = 4096, .ffn_dim = 16384,
       .heads = 32, .activation = "gelu", .positions = PositionKind::kLearned, .dropout = .0, .tied = true},
      {.name = "transformer_lm_gpt3_13", .layers = 40, .embed_dim = 5120, .ffn_dim = 20480,
       .heads = 40, .activation = "gelu", .positions = PositionKind::kLearned, .dropout = .0, .tied = true},
      {.name = "transformer_lm_gpt3_175", .layers = 96, .embed_dim = 12288, .ffn_dim = 49152,
       .heads = 96, .activation = "gelu", .positions = PositionKind::kLearned, .dropout = .0, .tied = true},
      {.name = "transformer_lm_wiki103", .layers = 16, .embed_dim = 1024, .ffn_dim = 4096,
       .heads = 8, .dropout = .3, .attention_dropout = .1, .activation_dropout = .1,
       .final_norm = false, .cutoffs = {20000, 60000}, .adaptive_softmax_dropout = .2},
      {.name = "transformer_lm_baevski_wiki103", .layers = 16, .embed_dim = 1024, .ffn_dim = 4096,
       .heads = 8, .dropout = .3, .attention_dropout = .1, .activation_dropout = .1,
       .final_norm = false, .cutoffs = {20000, 60000}, .adaptive_softmax_dropout = .2},
      {.name = "transformer_lm_gbw", .layers = 12, .embed_dim = 512, .ffn_dim = 4096, .heads = 16,
       .attention_dropout = .1, .final_norm = false},
      {.name = "transformer_lm_baevski_gbw", .layers = 12, .embed_dim = 512, .ffn_dim = 4096,
       .heads = 16, .attention_dropout = .1, .final_norm = false},
  };
  // clang-format on
  for (auto& each : modern_architectures()) all.push_back(std::move(each));
  return all;
}

class LanguageModelFamily : public ModelFamily {
 public:
  LanguageModelFamily()
      : ModelFamily({.name = "language_model",
                     .words = "a language model",
                     .task = "language_modeling",
                     .decoder = true,
                     .architectures = language_model_architectures()}) {}

  void describe(OptionTable& table, ModelOptions& options) const override {
    options.form.describe(table);
    table.add("adaptive-input", &options.adaptive_input, "Rare tokens have narrower embeddings.");
    table
        .add("adaptive-input-cutoff", &options.adaptive_input_cutoff,
             "Token indices at which adaptive input narrows.")
        .at_least(1);
    table
        .add("adaptive-input-factor", &options.adaptive_input_factor,
             "Adaptive input: each cluster is narrower by this factor.")
        .above(0);
    table
        .add("adaptive-softmax-cutoff", &options.adaptive_softmax_cutoff,
             "Token indices at which the adaptive softmax begins a new cluster.")
        .at_least(1);
    table
        .add("adaptive-softmax-dropout", &options.adaptive_softmax_dropout,
             "Dropout in the clusters of the adaptive softmax.")
        .range(0, 1);
    table
        .add("adaptive-softmax-factor", &options.adaptive_softmax_factor,
             "Adaptive softmax: each cluster is narrower by this factor.")
        .above(0);
    table.add("tie-adaptive-weights", &options.tie_adaptive_weights,
              "Adaptive softmax and input share their embeddings.");
    table.add("tie-adaptive-proj", &options.tie_adaptive_proj,
              "Adaptive softmax and input share their projections.");
  }

  std::vector<TransformerStackOptions> stacks(const TrainOptions& options,
                                              const Vocabulary& vocabulary,
                                              bool shared_expert) const override {
    return {gpt_options(options, vocabulary.target, vocabulary.padding, shared_expert)};
  }

  ModelPtr make(const TrainOptions& options, const Vocabulary& vocabulary,
                bool shared_expert) const override {
    return std::make_shared<GptImpl>(
        gpt_options(options, vocabulary.target, vocabulary.padding, shared_expert));
  }

  void check(const TrainOptions& options) const override {
    gpt_options(options, /*vocab_size=*/0, Dictionary::kPad, /*shared_expert=*/false).validate();
  }

  MemoryEstimate memory(const TrainOptions& options, const Vocabulary& vocabulary,
                        const LargestBatch& batch, const StateBytes& state) const override {
    const auto model = gpt_options(options, vocabulary.target, vocabulary.padding,
                                   /*shared_expert=*/false);
    if (model.adaptive_input.used() || model.adaptive_softmax.bands.used()) {
      fail_usage("--memory-budget {} does not know what adaptive input and softmax take",
                 *options.resources.memory_budget);
    }
    return estimate_memory(model, batch, state);
  }

  const HalfOptions& main_half(const ModelOptions& options) const override {
    return options.decoder;
  }
  std::optional<int64_t>& positions(ModelOptions& options) const override {
    return options.max_target_positions;
  }
  std::string positions_option() const override { return "max-target-positions"; }
  int64_t default_positions(const TrainOptions& options) const override {
    return options.task.tokens_per_sample;
  }

  OptionValues values(const TrainOptions& options) const override {
    const auto gpt = gpt_options(options, Dictionary::kSpecials, Dictionary::kPad,
                                 /*shared_expert=*/false);
    OptionValues values = form_values(gpt);
    values.emplace_back("share-decoder-input-output-embed", fmt::format("{}", gpt.tie_embeddings));
    values.emplace_back("no-decoder-final-norm", fmt::format("{}", !gpt.final_norm));
    return values;
  }

  std::vector<std::pair<std::string, torch::Tensor>> fairseq_extras(
      const TensorMap& model) const override {
    FairseqTensors extras(model);
    extras.add_stack("decoder");
    const std::string bands = "decoder.embed_tokens.embeddings.",
                      softmax = "decoder.adaptive_softmax.";
    if (extras.has(bands + "0.0.weight"))
      extras.add("decoder.embed_tokens._float_tensor", torch::zeros({1}));
    if (extras.has(softmax + "head.class_proj.weight")) {  // tied
      extras.add(softmax + "head._float_tensor", torch::zeros({1}));
      extras.copy(softmax + "head.word_proj.weight", bands + "0.0.weight");
      for (int64_t i = 1; extras.has(fmt::format("{}{}.0.weight", bands, i)); ++i) {
        extras.copy(fmt::format("{}tail.{}.0.weight", softmax, i - 1),
                    fmt::format("{}{}.1.weight", bands, i));
        extras.copy(fmt::format("{}tail.{}.2.weight", softmax, i - 1),
                    fmt::format("{}{}.0.weight", bands, i));
      }
    }
    if (extras.has(softmax + "head.class_proj.weight") || extras.has(softmax + "head.weight")) {
      extras.add(softmax + "version", torch::tensor({int64_t{1}}));
    } else if (extras.has("decoder.embed_tokens.weight")) {
      extras.copy("decoder.output_projection.weight", "decoder.embed_tokens.weight");
    }
    return extras.take();
  }
};

}  // namespace

std::unique_ptr<ModelFamily> make_language_model_family() {
  return std::make_unique<LanguageModelFamily>();
}

}  // namespace evomoe
