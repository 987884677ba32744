// Decoder-only Transformers that predict the next token: GPT.
#include "evomoe/config/architectures.h"
#include "evomoe/config/option_table.h"
#include "evomoe/config/options.h"

namespace evomoe {
namespace {

void describe_adaptive(OptionTable& table, ModelOptions& o) {
  table.add("adaptive-input", &o.adaptive_input, "Rare tokens have narrower embeddings.");
  table
      .add("adaptive-input-cutoff", &o.adaptive_input_cutoff,
           "Token indices at which adaptive input narrows.")
      .at_least(1);
  table
      .add("adaptive-input-factor", &o.adaptive_input_factor,
           "Adaptive input: each cluster is narrower by this factor.")
      .above(0);
  table
      .add("adaptive-softmax-cutoff", &o.adaptive_softmax_cutoff,
           "Token indices at which the adaptive softmax begins a new cluster.")
      .at_least(1);
  table
      .add("adaptive-softmax-dropout", &o.adaptive_softmax_dropout,
           "Dropout in the clusters of the adaptive softmax.")
      .range(0, 1);
  table
      .add("adaptive-softmax-factor", &o.adaptive_softmax_factor,
           "Adaptive softmax: each cluster is narrower by this factor.")
      .above(0);
  table.add("tie-adaptive-weights", &o.tie_adaptive_weights,
            "Adaptive softmax and input share their embeddings.");
  table.add("tie-adaptive-proj", &o.tie_adaptive_proj,
            "Adaptive softmax and input share their projections.");
}

std::vector<Architecture> language_model_architectures() {
  // clang-format off
  return {
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
}

}  // namespace

FamilyDeclaration language_model_family() {
  return {.name = "language_model",
          .words = "a language model",
          .task = "language_modeling",
          .decoder = true,
          .describe = describe_adaptive,
          .architectures = language_model_architectures()};
}

}  // namespace evomoe
