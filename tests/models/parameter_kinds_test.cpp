#include "evomoe/models/parameter_kinds.h"

#include <gtest/gtest.h>

#include "evomoe/models/encoder_decoder.h"
#include "evomoe/models/gpt.h"
#include "evomoe/models/roberta.h"
#include "tests/models/small_gpt.h"

namespace evomoe {
namespace {

using Kind = ParameterKind;

void expect_kinds(const torch::nn::Module& model, const std::map<std::string, Kind>& expected) {
  const auto kinds = parameter_kinds(model);
  for (const auto& item : model.named_parameters())
    EXPECT_TRUE(kinds.contains(item.key())) << item.key();
  EXPECT_EQ(kinds.size(), model.named_parameters().size());
  for (const auto& [name, kind] : expected) {
    ASSERT_TRUE(kinds.contains(name)) << name;
    EXPECT_EQ(parameter_kind_name(kinds.at(name)), parameter_kind_name(kind)) << name;
  }
}

TEST(ParameterKinds, OfALanguageModelWithExperts) {
  auto options = testing::small_gpt("switch");
  options.positions = PositionKind::kLearned;
  options.tie_embeddings = false;
  const std::string layers = "decoder.layers.";
  const auto moe = layers + std::to_string(options.moe_freq - 1) + ".moe_layer.";
  std::map<std::string, Kind> expected = {{"decoder.embed_tokens.weight", Kind::kEmbedding},
                                          {"decoder.embed_positions.weight", Kind::kEmbedding},
                                          {"decoder.output_projection.weight", Kind::kHead},
                                          {layers + "0.self_attn.q_proj.weight", Kind::kMatrix},
                                          {layers + "0.self_attn.q_proj.bias", Kind::kBias},
                                          {layers + "0.self_attn_layer_norm.weight", Kind::kNorm},
                                          {layers + "0.final_layer_norm.bias", Kind::kNorm},
                                          {moe + "gate.wg.weight", Kind::kRouter},
                                          {moe + "experts.w1", Kind::kExpert},
                                          {moe + "experts.b2", Kind::kExpert}};
  expect_kinds(*Gpt(options), expected);
}

TEST(ParameterKinds, OfGatedExpertsAndRmsNorms) {
  auto options = testing::small_gpt("switch");
  options.norm.kind = NormKind::kRmsNorm;
  options.moe.gated = true;
  options.moe.biases = false;
  expect_kinds(*Gpt(options), {{"decoder.layers.1.moe_layer.experts.w3", Kind::kExpert},
                               {"decoder.layers.1.final_layer_norm.weight", Kind::kNorm}});
}

TEST(ParameterKinds, OfAdaptiveTables) {
  auto options = testing::small_gpt();
  options.adaptive_input = {{10, 25}, 2};
  options.adaptive_softmax = {{{10, 25}, 2}, false, false};
  expect_kinds(*Gpt(options), {{"decoder.embed_tokens.embeddings.1.0.weight", Kind::kEmbedding},
                               {"decoder.embed_tokens.embeddings.1.1.weight", Kind::kEmbedding},
                               {"decoder.adaptive_softmax.head.weight", Kind::kHead},
                               {"decoder.adaptive_softmax.tail.0.2.weight", Kind::kHead},
                               {"decoder.layers.0.fc1.weight", Kind::kMatrix},
                               {"decoder.layers.0.fc1.bias", Kind::kBias}});
}

TEST(ParameterKinds, OfRobertasHeadsWhoseNormIsANorm) {
  RobertaOptions options;
  options.vocab_size = testing::kVocabulary;
  options.layers = 1;
  options.embed_dim = 16;
  options.ffn_dim = 32;
  options.heads = 2;
  options.max_positions = 12;
  options.heads_of_sentences = {{.name = "topic", .classes = 3}};
  expect_kinds(*Roberta(options),
               {{"encoder.sentence_encoder.embed_positions.weight", Kind::kEmbedding},
                {"encoder.sentence_encoder.layernorm_embedding.weight", Kind::kNorm},
                {"encoder.lm_head.dense.weight", Kind::kHead},
                {"encoder.lm_head.bias", Kind::kHead},
                {"encoder.lm_head.layer_norm.bias", Kind::kNorm},
                {"classification_heads.topic.out_proj.bias", Kind::kHead}});
}

TEST(ParameterKinds, OfAPairOfStacksWithASharedTable) {
  EncoderDecoderOptions options;
  options.decoder = testing::small_gpt("switch");
  options.encoder = options.decoder;
  options.share_all_embeddings = true;
  expect_kinds(*EncoderDecoder(options),
               {{"encoder.embed_tokens.weight", Kind::kEmbedding},
                {"decoder.layers.0.encoder_attn.out_proj.weight", Kind::kMatrix},
                {"decoder.layers.0.encoder_attn_layer_norm.weight", Kind::kNorm}});
}

TEST(ParameterKinds, HaveNamesThatAreReadBack) {
  for (const auto& name : parameter_kind_names())
    EXPECT_EQ(parameter_kind_name(parse_parameter_kind(name).value()), name);
  EXPECT_FALSE(parse_parameter_kind("gate").has_value());
}

}  // namespace
}  // namespace evomoe
