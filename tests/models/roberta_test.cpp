#include "evomoe/models/roberta.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "tests/models/small_roberta.h"

namespace evomoe {
namespace {

using testing::kPad;

RobertaOptions small_roberta() {
  auto options = testing::small_roberta();
  options.max_positions = 12;
  options.heads_of_sentences = {{.name = "topic", .classes = 3}};
  return options;
}

TEST(Roberta, ParametersHaveTheReferencesNames) {
  const Roberta model(small_roberta());
  const auto names = model->named_parameters().keys();
  for (const auto* name :
       {"encoder.sentence_encoder.embed_tokens.weight",
        "encoder.sentence_encoder.embed_positions.weight",
        "encoder.sentence_encoder.layernorm_embedding.weight",
        "encoder.sentence_encoder.layers.1.final_layer_norm.bias", "encoder.lm_head.bias",
        "encoder.lm_head.dense.weight", "encoder.lm_head.layer_norm.weight",
        "classification_heads.topic.dense.weight", "classification_heads.topic.out_proj.bias"}) {
    EXPECT_THAT(names, ::testing::Contains(name));
  }
  EXPECT_THAT(names, ::testing::Not(::testing::Contains("encoder.lm_head.weight")));
}

TEST(Roberta, EveryTokenSeesEveryOtherButPadding) {
  Roberta model(small_roberta());
  model->initialise(1);
  const torch::NoGradGuard no_grad;
  ModelInput input{testing::padded_tokens({6, 4}, 6)};
  input.source_padding_BS = input.source_BS.eq(kPad);
  const auto x_BSD = model->forward(input, ForwardContext()).x_BSD;
  const auto alone = model->forward({input.source_BS.slice(0, 1).slice(1, 0, 4)}, ForwardContext());
  EXPECT_TRUE(torch::allclose(x_BSD[1].slice(0, 0, 4), alone.x_BSD[0], 1e-5, 1e-5));
  auto other = input;
  other.source_BS = input.source_BS.clone();
  other.source_BS[0][5] = 3 + (input.source_BS[0][5].item<int64_t>() - 2) % 30;
  EXPECT_FALSE(torch::equal(x_BSD[0][0], model->forward(other, ForwardContext()).x_BSD[0][0]));
}

TEST(Roberta, ItsHeadIsDenseGeluNormProjectionAndBias) {
  Roberta model(small_roberta());
  model->initialise(1);
  const torch::NoGradGuard no_grad;
  auto parameters = model->named_parameters();
  parameters["encoder.lm_head.bias"].uniform_();
  torch::manual_seed(4);
  const auto x_ND = torch::randn({5, 16});
  const auto named = [&](const std::string& name) { return parameters["encoder." + name]; };
  const auto hidden = torch::layer_norm(
      torch::gelu(torch::linear(x_ND, named("lm_head.dense.weight"), named("lm_head.dense.bias"))),
      {16}, named("lm_head.layer_norm.weight"), named("lm_head.layer_norm.bias"), 1e-5);
  const auto expected = torch::log_softmax(
      torch::linear(hidden, named("sentence_encoder.embed_tokens.weight"), named("lm_head.bias")),
      1);
  EXPECT_TRUE(torch::allclose(model->log_probability(x_ND), expected, 1e-5, 1e-5));
  const auto target_N = torch::tensor({3, 9, 0, 5, 39}, torch::kInt64);
  const auto chosen = expected.gather(1, target_N.unsqueeze(1)).squeeze(1);
  EXPECT_TRUE(torch::allclose(model->log_probability_of(x_ND, target_N), chosen, 1e-5, 1e-5));
  EXPECT_NEAR(model->token_loss(x_ND, target_N, {}).nll, -chosen.sum().item<double>(), 1e-4);
}

TEST(Roberta, ASentenceIsClassifiedByItsFirstToken) {
  Roberta model(small_roberta());
  model->initialise(1);
  const auto x_BSD = torch::randn({2, 5, 16});
  const auto logit_BC = model->classify(x_BSD, "topic", ForwardContext());
  EXPECT_EQ(logit_BC.sizes(), (std::vector<int64_t>{2, 3}));
  auto other = x_BSD.clone();
  other.slice(1, 1).zero_();
  EXPECT_TRUE(torch::equal(model->classify(other, "topic", ForwardContext()), logit_BC));
  EXPECT_THROW(model->classify(x_BSD, "mood", ForwardContext()), Error);
}

TEST(Roberta, StartsAsBertDoes) {
  auto options = small_roberta();
  options.vocab_size = 2000;
  Roberta model(options);
  model->initialise(1);
  const auto parameters = model->named_parameters();
  for (const auto* name : {"encoder.sentence_encoder.embed_tokens.weight",
                           "encoder.sentence_encoder.layers.0.fc1.weight",
                           "encoder.sentence_encoder.layers.0.self_attn.out_proj.weight"}) {
    const auto& weight = parameters[name];
    EXPECT_NEAR(weight.std().item<double>(), 0.02, 0.003) << name;
  }
  EXPECT_EQ(parameters["encoder.sentence_encoder.layers.0.fc1.bias"].abs().max().item<float>(), 0);
  EXPECT_EQ(
      parameters["encoder.sentence_encoder.embed_tokens.weight"][kPad].abs().max().item<float>(),
      0);
  EXPECT_EQ(parameters["encoder.lm_head.layer_norm.weight"].min().item<float>(), 1);
}

}  // namespace
}  // namespace evomoe
