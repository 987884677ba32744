// RoBERTa: encoders that predict masked tokens, or classify sentences.
#include "evomoe/config/architectures.h"
#include "evomoe/config/option_table.h"
#include "evomoe/config/options.h"

namespace evomoe {
namespace {

void describe_roberta(OptionTable& table, ModelOptions& o) {
  table
      .add("pooler-activation-fn", &o.pooler_activation_fn,
           "Activation of the classification head.")
      .choices({"tanh", "relu", "gelu", "linear"});
  table.add("pooler-dropout", &o.pooler_dropout, "Dropout of the classification head.").range(0, 1);
  table.add("untie-weights-roberta", &o.untie_weights_roberta,
            "Separate input and output embeddings.");
  table.add("max-positions", &o.max_positions, "Positions of the model; not given: 512.")
      .range(1, 1 << 20);
}

std::vector<Architecture> roberta_architectures() {
  // clang-format off
  return {
      {.name = "roberta", .layers = 12, .embed_dim = 768, .ffn_dim = 3072, .heads = 12,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "roberta_base", .layers = 12, .embed_dim = 768, .ffn_dim = 3072, .heads = 12,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "roberta_prenorm", .layers = 12, .embed_dim = 768, .ffn_dim = 3072, .heads = 12,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true},
      {.name = "roberta_large", .layers = 24, .embed_dim = 1024, .ffn_dim = 4096, .heads = 16,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "roberta_large_moe", .layers = 24, .embed_dim = 1024, .ffn_dim = 4096, .heads = 16,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "roberta_xl", .layers = 48, .embed_dim = 1600, .ffn_dim = 6400, .heads = 25,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
      {.name = "xlm", .layers = 16, .embed_dim = 1280, .ffn_dim = 5120, .heads = 16,
       .activation = "gelu", .positions = PositionKind::kLearned, .attention_dropout = .1, .tied = true,
       .norm_first = false, .embedding_norm = true},
  };
  // clang-format on
}

}  // namespace

FamilyDeclaration roberta_family() {
  return {.name = "roberta",
          .words = "a masked language model",
          .task = "masked_lm",
          .encoder = true,
          .describe = describe_roberta,
          .architectures = roberta_architectures()};
}

}  // namespace evomoe
