#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/routing/topk_router.h"
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

bool is_modern(const std::string& name) {
  for (const char* family : {"llama_", "olmoe_", "mixtral_", "qwen3_moe_"}) {
    if (name.starts_with(family)) return true;
  }
  return false;
}

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
  const auto names = architecture_names();
  EXPECT_EQ(std::ranges::count_if(names, [](const std::string& name) { return !is_modern(name); }),
            std::ssize(kTable));
}

TEST(Architectures, ModernOnesSayHowTheirDecoderAndItsRoutingAre) {
  const auto model = [](const std::string& arguments) {
    TrainOptions options;
    OptionTable table("train", "");
    options.describe(table);
    std::vector<std::string> words = {"data", "--batch-size", "1"};
    std::istringstream stream(arguments);
    for (std::string word; stream >> word;) words.push_back(word);
    table.parse(words);
    const auto gpt = gpt_options(options, 20, 1, /*shared_expert=*/false);
    gpt.validate();
    return gpt;
  };
  const auto llama = model("--arch llama_small");
  EXPECT_EQ(llama.norm.kind, NormKind::kRmsNorm);
  EXPECT_EQ(llama.positions, PositionKind::kRotary);
  EXPECT_TRUE(llama.gated && llama.moe.gated);
  EXPECT_FALSE(llama.ffn_bias || llama.moe.biases || llama.scale_embedding || llama.tie_embeddings);
  EXPECT_EQ(llama.attention_bias, "none");
  EXPECT_EQ(llama.kv_heads, 4);
  EXPECT_EQ(llama.moe_freq, 0);

  const auto olmoe = model("--arch olmoe_tiny");
  EXPECT_EQ(olmoe.moe_freq, 1);
  EXPECT_EQ(olmoe.moe.router.method, "topk");
  EXPECT_EQ(olmoe.moe.router.num_experts, 8);
  EXPECT_EQ(olmoe.moe.router.get<TopkOptions>().k, 2);
  EXPECT_TRUE(olmoe.moe.router.get<TopkOptions>().no_normalize);
  EXPECT_EQ(olmoe.moe.router.get<CapacityOptions>().train_factor, 0);
  EXPECT_EQ(olmoe.query_key_norm, "width");
  EXPECT_FALSE(model("--arch mixtral_tiny").moe.router.get<TopkOptions>().no_normalize);
  EXPECT_EQ(model("--arch qwen3_moe_tiny").head_dim, 32);

  // What is given comes first, and another router has nothing of the architecture's.
  const auto changed = model(
      "--arch olmoe_tiny --moe-expert-count 4 --moe-router sigmoid --moe-first-dense-layers 1 "
      "--query-key-norm none --sliding-window 7 --decoder-kv-heads 1 --norm-eps 0.001");
  EXPECT_EQ(changed.moe.router.num_experts, 4);
  EXPECT_EQ(changed.moe.router.method, "sigmoid");
  EXPECT_FALSE(changed.moe.router.get<TopkOptions>().no_normalize);
  EXPECT_EQ(changed.first_dense_layers, 1);
  EXPECT_EQ(changed.query_key_norm, "none");
  EXPECT_EQ(changed.window, 7);
  EXPECT_EQ(changed.norm.eps, 0.001);
  const auto dense = model("--arch olmoe_tiny --moe-freq 0");
  EXPECT_EQ(dense.moe_freq, 0);
  EXPECT_EQ(dense.moe.router.num_experts, 0);
  // Any decoder may have them.
  EXPECT_EQ(model("--arch transformer_lm_gpt2_tiny --decoder-rotary-pos").positions,
            PositionKind::kRotary);
  EXPECT_THAT([&] { model("--arch transformer_lm_gpt2_tiny --rotary-base 500"); },
              ThrowsMessage<UsageError>(
                  AllOf(HasSubstr("--rotary-base 500"), HasSubstr("--decoder-rotary-pos"))));
}

TEST(Architectures, OfTheReferenceHaveNothingThatItHasNoWordFor) {
  for (const auto& row : kTable) {
    if (!std::string(row.name).starts_with("transformer_lm")) continue;
    TrainOptions options;
    options.model.arch = row.name;
    EXPECT_THAT(beyond_reference(gpt_options(options, 20, 1, /*shared_expert=*/false)),
                ::testing::IsEmpty())
        << row.name;
  }
  TrainOptions options;
  options.model.arch = "mixtral_small";
  EXPECT_THAT(
      beyond_reference(gpt_options(options, 20, 1, /*shared_expert=*/false)),
      ::testing::IsSupersetOf({std::string("--decoder-norm rms_norm"), std::string("--gated-ffn"),
                               std::string("--decoder-kv-heads 2")}));
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
