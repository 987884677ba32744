#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/models/gpt.h"
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

TEST(Adaptive, CutoffsThatCannotBeAreNamed) {
  auto options = adaptive(false, false);
  options.adaptive_input.cutoffs = {10, 10};
  EXPECT_THAT([&] { Gpt{options}; }, ::testing::ThrowsMessage<UsageError>(
                                         ::testing::HasSubstr("--adaptive-input-cutoff 10,10")));
  options = adaptive(true, false);
  options.adaptive_softmax.bands.cutoffs = {10};
  EXPECT_THAT([&] { Gpt{options}; },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("--adaptive-softmax-cutoff")));
}

}  // namespace
}  // namespace evomoe
