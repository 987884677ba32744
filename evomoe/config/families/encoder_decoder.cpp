// Encoder-decoders, which read one sequence and predict another.
#include "evomoe/config/architectures.h"
#include "evomoe/config/option_table.h"
#include "evomoe/config/options.h"

namespace evomoe {
namespace {

void describe_encoder_decoder(OptionTable& table, ModelOptions& o) {
  table.add("share-all-embeddings", &o.share_all_embeddings,
            "One matrix for the embeddings of encoder, decoder and output.");
  table
      .add("max-source-positions", &o.max_source_positions,
           "Positions of the encoder; not given: 1024.")
      .range(1, 1 << 20);
}

std::vector<Architecture> encoder_decoder_architectures() {
  // clang-format off
  return {
      {.name = "transformer", .layers = 6, .embed_dim = 512, .ffn_dim = 2048, .heads = 8,
       .norm_first = false},
      {.name = "transformer_tiny", .layers = 2, .embed_dim = 64, .ffn_dim = 64, .heads = 2,
       .norm_first = false},
      {.name = "transformer_iwslt_de_en", .layers = 6, .embed_dim = 512, .ffn_dim = 1024,
       .heads = 4, .norm_first = false},
      {.name = "transformer_iwslt_de_en_moe", .layers = 6, .embed_dim = 512, .ffn_dim = 1024,
       .heads = 4, .norm_first = false},
      {.name = "transformer_wmt_en_de", .layers = 6, .embed_dim = 512, .ffn_dim = 2048, .heads = 8,
       .norm_first = false},
      {.name = "transformer_vaswani_wmt_en_de_big", .layers = 6, .embed_dim = 1024,
       .ffn_dim = 4096, .heads = 16, .dropout = .3, .norm_first = false},
      {.name = "transformer_vaswani_wmt_en_fr_big", .layers = 6, .embed_dim = 1024,
       .ffn_dim = 4096, .heads = 16, .norm_first = false},
      {.name = "transformer_wmt_en_de_big", .layers = 6, .embed_dim = 1024, .ffn_dim = 4096,
       .heads = 16, .dropout = .3, .attention_dropout = .1, .norm_first = false},
      {.name = "transformer_wmt_en_de_big_t2t", .layers = 6, .embed_dim = 1024, .ffn_dim = 4096,
       .heads = 16, .dropout = .3, .attention_dropout = .1, .activation_dropout = .1},
  };
  // clang-format on
}

}  // namespace

FamilyDeclaration encoder_decoder_family() {
  return {.name = "encoder_decoder",
          .words = "an encoder-decoder",
          .task = "translation",
          .encoder = true,
          .decoder = true,
          .describe = describe_encoder_decoder,
          .architectures = encoder_decoder_architectures()};
}

}  // namespace evomoe
