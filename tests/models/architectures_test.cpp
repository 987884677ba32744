#include "evomoe/models/architectures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"

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

// The table of the reference's architectures (its names without `transformer_lm`).
const Row kTable[] = {
    {"", 6, 512, 2048, 8, "relu", false, .1, 0, false},
    {"_big", 12, 1024, 4096, 16, "relu", false, .1, 0, false},
    {"_gpt", 12, 768, 3072, 12, "gelu", false, .1, .1, false},
    {"_gptsmall_moe", 12, 768, 3072, 12, "gelu", false, .1, .1, false},
    {"_gpt2_tiny", 2, 64, 64, 1, "gelu", false, .1, .1, false},
    {"_gpt2_small", 24, 1024, 4096, 16, "gelu", false, .1, .1, false},
    {"_gptmedium_moe", 24, 1024, 4096, 16, "gelu", false, .1, .1, false},
    {"_gpt2_medium", 36, 1280, 5120, 20, "gelu", false, .1, .1, false},
    {"_gpt2_big", 40, 1600, 6400, 25, "gelu", false, .1, .1, false},
    {"_gptxl_moe", 48, 1600, 6400, 25, "gelu", false, .1, .1, false},
    {"_gpt2_big_wide", 24, 2048, 8192, 32, "gelu", false, .1, .1, false},
    {"_gpt2_bigger", 48, 2048, 8192, 32, "gelu", false, .1, .1, false},
    {"_gpt3_small", 12, 768, 4 * 768, 12, "gelu", true, 0, 0, true},
    {"_gpt3_medium", 24, 1024, 4 * 1024, 16, "gelu", true, 0, 0, true},
    {"_gpt3_large", 24, 1536, 4 * 1536, 16, "gelu", true, 0, 0, true},
    {"_gpt3_xl", 24, 2048, 4 * 2048, 32, "gelu", true, 0, 0, true},
    {"_gpt3_2_7", 32, 2560, 4 * 2560, 32, "gelu", true, 0, 0, true},
    {"_gpt3_6_7", 32, 4096, 4 * 4096, 32, "gelu", true, 0, 0, true},
    {"_gpt3_13", 40, 5120, 4 * 5120, 40, "gelu", true, 0, 0, true},
    {"_gpt3_175", 96, 12288, 4 * 12288, 96, "gelu", true, 0, 0, true},
};

TEST(Architectures, HaveTheDimensionsOfTheReferencesTable) {
  for (const auto& row : kTable) {
    const auto& found = find_architecture(std::string("transformer_lm") + row.name);
    SCOPED_TRACE(found.name);
    EXPECT_EQ(found.layers, row.layers);
    EXPECT_EQ(found.embed_dim, row.embed_dim);
    EXPECT_EQ(found.ffn_dim, row.ffn_dim);
    EXPECT_EQ(found.heads, row.heads);
    EXPECT_EQ(found.activation, row.activation);
    EXPECT_EQ(found.learned_positions, row.learned);
    EXPECT_EQ(found.dropout, row.dropout);
    EXPECT_EQ(found.attention_dropout, row.attention_dropout);
    EXPECT_EQ(found.activation_dropout, 0);
    EXPECT_EQ(found.tied, row.tied);
  }
  EXPECT_EQ(architecture_names().size(), std::size(kTable));
}

TEST(Architectures, UnknownOnesAndAdaptiveSoftmaxAreRefusedWithTheKnownOnes) {
  EXPECT_THAT([] { find_architecture("gpt5"); },
              ThrowsMessage<UsageError>(AllOf(HasSubstr("gpt5"), HasSubstr("transformer_lm_gpt"))));
  for (const auto* name : {"transformer_lm_wiki103", "transformer_lm_baevski_wiki103",
                           "transformer_lm_gbw", "transformer_lm_baevski_gbw"}) {
    EXPECT_THAT([&] { find_architecture(name); },
                ThrowsMessage<UsageError>(AllOf(HasSubstr(name), HasSubstr("not supported"))));
  }
}

}  // namespace
}  // namespace evomoe
