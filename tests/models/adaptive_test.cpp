#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/models/gpt.h"
#include "evomoe/ops/philox_dropout.h"
#include "tests/models/small_gpt.h"

namespace evomoe {
namespace {

using testing::kPad;
using testing::kVocabulary;

GptOptions adaptive(bool tie_weights, bool tie_projections) {
  auto options = testing::small_gpt();
  options.layers = 1;
  options.adaptive_input = {{10, 25}, 2};
  options.adaptive_softmax = {{{10, 25}, 2}, tie_weights, tie_projections};
  return options;
}

TEST(Adaptive, NarrowBandsHaveTheReferencesNamesAndShapes) {
  const Gpt model(adaptive(false, false));
  const auto parameters = model->named_parameters();
  const std::map<std::string, std::vector<int64_t>> expected = {
      {"decoder.embed_tokens.embeddings.0.0.weight", {10, 16}},
      {"decoder.embed_tokens.embeddings.0.1.weight", {16, 16}},
      {"decoder.embed_tokens.embeddings.1.0.weight", {15, 8}},
      {"decoder.embed_tokens.embeddings.2.0.weight", {kVocabulary - 25, 4}},
      {"decoder.embed_tokens.embeddings.2.1.weight", {16, 4}},
      {"decoder.adaptive_softmax.head.weight", {12, 16}},
      {"decoder.adaptive_softmax.tail.0.0.weight", {8, 16}},
      {"decoder.adaptive_softmax.tail.0.2.weight", {15, 8}},
      {"decoder.adaptive_softmax.tail.1.2.weight", {kVocabulary - 25, 4}}};
  for (const auto& [name, shape] : expected) {
    ASSERT_TRUE(parameters.contains(name)) << name;
    EXPECT_EQ(parameters[name].sizes(), shape) << name;
  }
  EXPECT_FALSE(parameters.contains("decoder.output_projection.weight"));
}

TEST(Adaptive, SharedTablesAreThereOnce) {
  const Gpt model(adaptive(true, true));
  const auto names = model->named_parameters().keys();
  EXPECT_THAT(names, ::testing::Contains("decoder.adaptive_softmax.head.class_proj.weight"));
  for (const auto& name : names) {
    EXPECT_THAT(name, ::testing::Not(::testing::HasSubstr("adaptive_softmax.tail")));
  }
}

TEST(Adaptive, ProbabilitiesAddUpToOneAndTheLossIsTheirs) {
  for (const auto& [weights, projections] :
       {std::pair{false, false}, {true, false}, {true, true}}) {
    SCOPED_TRACE(fmt::format("{} {}", weights, projections));
    auto model = testing::make_gpt(adaptive(weights, projections));
    torch::manual_seed(2);
    const auto x_ND = torch::randn({6, 16});
    const auto target_N = torch::tensor(std::vector<int64_t>{3, 12, 39, kPad, 24, 25});
    const auto log_p = model->log_probability(x_ND);
    EXPECT_TRUE(torch::allclose(log_p.exp().sum(1), torch::ones({6}), 1e-5, 1e-5));
    const auto chosen = log_p.gather(1, target_N.unsqueeze(1)).squeeze(1);
    EXPECT_TRUE(torch::allclose(model->log_probability_of(x_ND, target_N), chosen, 1e-5, 1e-5));
    const auto kept = target_N.ne(kPad);
    const auto loss = model->token_loss(x_ND, target_N, {.ignore_index = kPad});
    EXPECT_NEAR(loss.loss.item<double>(), -(chosen * kept).sum().item<double>(), 1e-4);
    // The gradient of every parameter is that of the plain form.
    const auto parameters = model->named_parameters();
    const auto gradient = [&](const torch::Tensor& of) {
      model->zero_grad();
      of.backward();
      std::map<std::string, torch::Tensor> found;
      for (const auto& item : parameters) {
        if (item.value().grad().defined()) found[item.key()] = item.value().grad().clone();
      }
      return found;
    };
    const auto ours = gradient(loss.loss);
    const auto plain = gradient(
        -(model->log_probability(x_ND).gather(1, target_N.unsqueeze(1)).squeeze(1) * kept).sum());
    for (const auto& [name, value] : plain) {
      const auto found = ours.find(name);
      const auto zero = value.abs().max().item<double>() == 0;
      ASSERT_TRUE(found != ours.end() || zero) << name;
      if (found != ours.end())
        EXPECT_TRUE(torch::allclose(found->second, value, 1e-4, 1e-5)) << name;
    }
  }
}

TEST(Adaptive, AnEmbeddingIsTheBandsVectorProjected) {
  auto model = testing::make_gpt(adaptive(false, false));
  const torch::NoGradGuard no_grad;
  auto parameters = model->named_parameters();
  const auto named = [&](const std::string& name) {
    return parameters["decoder.embed_tokens.embeddings." + name + ".weight"];
  };
  AdaptiveInput input(AdaptiveBands{{10, 25}, 2}, kVocabulary, 16, kPad);
  for (auto& item : input->named_parameters())
    item.value().copy_(parameters["decoder.embed_tokens." + item.key()]);
  const auto x = input->forward(torch::tensor(std::vector<int64_t>{4, 12, 39, kPad}).view({2, 2}));
  EXPECT_EQ(x.sizes(), (std::vector<int64_t>{2, 2, 16}));
  EXPECT_TRUE(torch::allclose(x[0][0], torch::mv(named("0.1"), named("0.0")[4])));
  EXPECT_TRUE(torch::allclose(x[0][1], torch::mv(named("1.1"), named("1.0")[2])));
  EXPECT_TRUE(torch::allclose(x[1][0], torch::mv(named("2.1"), named("2.0")[14])));
  EXPECT_EQ(x[1][1].abs().max().item<float>(), 0);
}

TEST(Adaptive, InTrainingFeaturesAndTheirProjectionsAreDropped) {
  auto options = adaptive(false, false);
  options.adaptive_softmax.dropout = 0.4;
  auto model = testing::make_gpt(options);
  torch::manual_seed(2);
  const auto x_ND = torch::randn({6, 16});
  const auto target_N = torch::tensor(std::vector<int64_t>{3, 12, 39, kPad, 24, 25});
  const NoiseKey noise{.seed = 5, .update = 7, .first_sequence = 4, .sequence_length = 3};
  const auto loss = [&](std::optional<NoiseKey> key) {
    return model->token_loss(x_ND, target_N, {.ignore_index = kPad, .dropout_noise = key})
        .loss.item<double>();
  };

  const auto parameters = model->named_parameters();
  const auto weight = [&](const std::string& name) {
    return parameters["decoder.adaptive_softmax." + name + ".weight"];
  };
  const auto input = philox_dropout(x_ND, 0.4, noise.at(0, NoiseSite::kAdaptiveSoftmaxDropout));
  const auto head = torch::log_softmax(torch::matmul(input, weight("head").t()), 1);
  std::vector<torch::Tensor> tails;
  for (uint32_t i = 0; i < 2; ++i) {
    const auto features = torch::matmul(input, weight(fmt::format("tail.{}.0", i)).t());
    tails.push_back(torch::log_softmax(
        torch::matmul(
            philox_dropout(features, 0.4, noise.at(i, NoiseSite::kAdaptiveSoftmaxTailDropout)),
            weight(fmt::format("tail.{}.2", i)).t()),
        1));
  }
  const auto log_p = head[0][3] + head[1][10] + tails[0][1][12 - 10] + head[2][11] +
                     tails[1][2][39 - 25] + head[4][10] + tails[0][4][24 - 10] + head[5][11] +
                     tails[1][5][25 - 25];
  EXPECT_NEAR(loss(noise), -log_p.item<double>(), 1e-4);

  options.adaptive_softmax.dropout = 0;
  const auto without = loss(std::nullopt);
  EXPECT_GT(std::abs(without - loss(noise)), 1e-2);
  model = testing::make_gpt(options);
  EXPECT_EQ(loss(noise), without);
}

TEST(Adaptive, CutoffsThatCannotBeAreNamed) {
  auto options = adaptive(false, false);
  options.adaptive_input.cutoffs = {10, 10};
  EXPECT_THAT([&] { Gpt{options}; }, ::testing::ThrowsMessage<UsageError>(
                                         ::testing::HasSubstr("--adaptive-input-cutoff 10,10")));
  options = adaptive(true, false);
  options.adaptive_softmax.bands.cutoffs = {10};
  EXPECT_THAT([&] { Gpt{options}; },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("--adaptive-softmax-cutoff")));
  options = adaptive(false, false);
  options.adaptive_softmax.dropout = 1;
  EXPECT_THAT([&] { Gpt{options}; }, ::testing::ThrowsMessage<UsageError>(
                                         ::testing::HasSubstr("--adaptive-softmax-dropout 1")));
}

}  // namespace
}  // namespace evomoe
