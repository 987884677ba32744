#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/train/model_family.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

struct Row {
  const char* name;
  int layers, embed_dim, ffn_dim, heads;
  const char* activation;
  bool learned;
  double dropout, attention_dropout;
  bool tied;
};

// The tables of the reference's architectures.
const Row kTable[] = {
    {"transformer_lm", 6, 512, 2048, 8, "relu", false, .1, 0, false},
    {"transformer_lm_big", 12, 1024, 4096, 16, "relu", false, .1, 0, false},
    {"transformer_lm_gpt", 12, 768, 3072, 12, "gelu", false, .1, .1, false},
    {"transformer_lm_gptsmall_moe", 12, 768, 3072, 12, "gelu", false, .1, .1, false},
    {"transformer_lm_gpt2_tiny", 2, 64, 64, 1, "gelu", false, .1, .1, false},
    {"transformer_lm_gpt2_small", 24, 1024, 4096, 16, "gelu", false, .1, .1, false},
    {"transformer_lm_gptmedium_moe", 24, 1024, 4096, 16, "gelu", false, .1, .1, false},
    {"transformer_lm_gpt2_medium", 36, 1280, 5120, 20, "gelu", false, .1, .1, false},
    {"transformer_lm_gpt2_big", 40, 1600, 6400, 25, "gelu", false, .1, .1, false},
    {"transformer_lm_gptxl_moe", 48, 1600, 6400, 25, "gelu", false, .1, .1, false},
    {"transformer_lm_gpt2_big_wide", 24, 2048, 8192, 32, "gelu", false, .1, .1, false},
    {"transformer_lm_gpt2_bigger", 48, 2048, 8192, 32, "gelu", false, .1, .1, false},
    {"transformer_lm_gpt3_small", 12, 768, 4 * 768, 12, "gelu", true, 0, 0, true},
    {"transformer_lm_gpt3_medium", 24, 1024, 4 * 1024, 16, "gelu", true, 0, 0, true},
    {"transformer_lm_gpt3_large", 24, 1536, 4 * 1536, 16, "gelu", true, 0, 0, true},
    {"transformer_lm_gpt3_xl", 24, 2048, 4 * 2048, 32, "gelu", true, 0, 0, true},
    {"transformer_lm_gpt3_2_7", 32, 2560, 4 * 2560, 32, "gelu", true, 0, 0, true},
    {"transformer_lm_gpt3_6_7", 32, 4096, 4 * 4096, 32, "gelu", true, 0, 0, true},
    {"transformer_lm_gpt3_13", 40, 5120, 4 * 5120, 40, "gelu", true, 0, 0, true},
    {"transformer_lm_gpt3_175", 96, 12288, 4 * 12288, 96, "gelu", true, 0, 0, true},
    {"transformer_lm_wiki103", 16, 1024, 4096, 8, "relu", false, .3, .1, false},
    {"transformer_lm_baevski_wiki103", 16, 1024, 4096, 8, "relu", false, .3, .1, false},
    {"transformer_lm_gbw", 12, 512, 4096, 16, "relu", false, .1, .1, false},
    {"transformer_lm_baevski_gbw", 12, 512, 4096, 16, "relu", false, .1, .1, false},
    {"roberta", 12, 768, 3072, 12, "gelu", true, .1, .1, true},
    {"roberta_base", 12, 768, 3072, 12, "gelu", true, .1, .1, true},
    {"roberta_prenorm", 12, 768, 3072, 12, "gelu", true, .1, .1, true},
    {"roberta_large", 24, 1024, 4096, 16, "gelu", true, .1, .1, true},
    {"roberta_large_moe", 24, 1024, 4096, 16, "gelu", true, .1, .1, true},
    {"roberta_xl", 48, 1600, 6400, 25, "gelu", true, .1, .1, true},
    {"xlm", 16, 1280, 5120, 16, "gelu", true, .1, .1, true},
    {"transformer", 6, 512, 2048, 8, "relu", false, .1, 0, false},
    {"transformer_tiny", 2, 64, 64, 2, "relu", false, .1, 0, false},
    {"transformer_iwslt_de_en", 6, 512, 1024, 4, "relu", false, .1, 0, false},
    {"transformer_iwslt_de_en_moe", 6, 512, 1024, 4, "relu", false, .1, 0, false},
    {"transformer_wmt_en_de", 6, 512, 2048, 8, "relu", false, .1, 0, false},
    {"transformer_vaswani_wmt_en_de_big", 6, 1024, 4096, 16, "relu", false, .3, 0, false},
    {"transformer_vaswani_wmt_en_fr_big", 6, 1024, 4096, 16, "relu", false, .1, 0, false},
    {"transformer_wmt_en_de_big", 6, 1024, 4096, 16, "relu", false, .3, .1, false},
    {"transformer_wmt_en_de_big_t2t", 6, 1024, 4096, 16, "relu", false, .3, .1, false},
};

TEST(Architectures, HaveTheDimensionsOfTheReferencesTable) {
  for (const auto& row : kTable) {
    const auto& found = find_architecture(row.name);
    SCOPED_TRACE(found.name);
    EXPECT_EQ(found.layers, row.layers);
    EXPECT_EQ(found.embed_dim, row.embed_dim);
    EXPECT_EQ(found.ffn_dim, row.ffn_dim);
    EXPECT_EQ(found.heads, row.heads);
    EXPECT_EQ(found.activation, row.activation);
    EXPECT_EQ(found.positions == PositionKind::kLearned, row.learned);
    EXPECT_EQ(found.dropout, row.dropout);
    EXPECT_EQ(found.attention_dropout, row.attention_dropout);
    EXPECT_EQ(found.tied, row.tied);
  }
  EXPECT_EQ(architecture_names().size(), std::size(kTable));
}

TEST(Architectures, NormalizeAsTheirFamilyDoes) {
  EXPECT_TRUE(find_architecture("transformer_lm_gptxl_moe").norm_first);
  EXPECT_FALSE(find_architecture("transformer_lm_wiki103").final_norm);
  EXPECT_EQ(find_architecture("transformer_lm_wiki103").cutoffs,
            (std::vector<int64_t>{20000, 60000}));
  EXPECT_EQ(find_architecture("transformer_lm_wiki103").activation_dropout, .1);
  EXPECT_EQ(find_architecture("transformer_lm_wiki103").adaptive_softmax_dropout, .2);
  EXPECT_FALSE(find_architecture("roberta_base").norm_first);
  EXPECT_TRUE(find_architecture("roberta_base").embedding_norm);
  EXPECT_TRUE(find_architecture("roberta_prenorm").norm_first);
  EXPECT_FALSE(find_architecture("transformer_wmt_en_de").norm_first);
  EXPECT_TRUE(find_architecture("transformer_wmt_en_de_big_t2t").norm_first);
}

TEST(Architectures, UnknownOnesAreRefusedWithTheKnownOnes) {
  EXPECT_THAT([] { find_architecture("gpt5"); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("gpt5"), HasSubstr("transformer_lm_gpt"),
                                              HasSubstr("roberta_large_moe"))));
}

}  // namespace
}  // namespace evomoe
