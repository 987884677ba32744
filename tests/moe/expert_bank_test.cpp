#include "evomoe/moe/expert_bank.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

ExpertBankOptions some_options(int64_t E) {
  return {.num_experts = E, .model_dim = 16, .hidden_dim = 64, .layer = 3};
}

TEST(ExpertBank, ParametersHaveTheirNamesAndShapes) {
  ExpertBank bank(some_options(4));
  const auto parameters = bank->named_parameters();
  EXPECT_EQ(parameters.size(), 4U);
  EXPECT_EQ(parameters["w1"].sizes(), (torch::IntArrayRef{4, 64, 16}));
  EXPECT_EQ(parameters["b1"].sizes(), (torch::IntArrayRef{4, 64}));
  EXPECT_EQ(parameters["w2"].sizes(), (torch::IntArrayRef{4, 16, 64}));
  EXPECT_EQ(parameters["b2"].sizes(), (torch::IntArrayRef{4, 16}));
}

ExpertBankOptions gated_options(int64_t E, bool biases) {
  auto options = some_options(E);
  options.activation = "silu";
  options.gated = true;
  options.biases = biases;
  return options;
}

TEST(ExpertBank, OnlyWhatTheExpertsHaveIsAParameter) {
  ExpertBank bank(gated_options(4, /*biases=*/false));
  EXPECT_EQ(bank->named_parameters().keys(), (std::vector<std::string>{"w1", "w2", "w3"}));
  EXPECT_EQ(bank->weights.w3_EHD.sizes(), (torch::IntArrayRef{4, 64, 16}));
  auto options = some_options(4);
  options.biases = false;
  EXPECT_EQ(ExpertBank(options)->named_parameters().keys(), (std::vector<std::string>{"w1", "w2"}));
}

TEST(ExpertBank, AWeightStartsTheSameWhateverOthersThereAre) {
  const auto plain = ExpertBank(some_options(4))->weights;
  const auto gated = ExpertBank(gated_options(4, /*biases=*/true))->weights;
  const auto without = ExpertBank(gated_options(4, /*biases=*/false))->weights;
  for_each_weight(
      [](const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& c) {
        if (a.defined()) EXPECT_TRUE(torch::equal(a, b));
        if (c.defined()) EXPECT_TRUE(torch::equal(b, c));
      },
      plain, gated, without);
  EXPECT_FALSE(torch::equal(gated.w1_EHD, gated.w3_EHD));
}

TEST(ExpertBank, InitialValuesAreThoseOfALinear) {
  ExpertBank bank(gated_options(8, /*biases=*/true));
  bank->initialise(5);
  const auto& weights = bank->weights;
  for (const auto& [tensor, bound] :
       {std::pair{weights.w1_EHD, 0.25}, std::pair{weights.b1_EH, 0.25},
        std::pair{weights.w2_EDH, 0.125}, std::pair{weights.b2_ED, 0.125},
        std::pair{weights.w3_EHD, 0.25}}) {
    EXPECT_LE(tensor.abs().max().item<double>(), bound);
    EXPECT_GT(tensor.abs().max().item<double>(), 0.95 * bound);
    EXPECT_NEAR(tensor.mean().item<double>(), 0, 0.15 * bound);
    EXPECT_NEAR(tensor.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound);
  }
}

TEST(ExpertBank, AnExpertStartsTheSameForAnyNumberOfExperts) {
  ExpertBank few(gated_options(2, true)), many(gated_options(6, true));
  few->initialise(5);
  many->initialise(5);
  for_each_weight(
      [](const torch::Tensor& of_few, const torch::Tensor& of_many) {
        if (!of_few.defined()) return;
        EXPECT_TRUE(torch::equal(of_few, of_many.slice(0, 0, 2)));
        EXPECT_FALSE(torch::equal(of_many[0], of_many[1]));
      },
      few->weights, many->weights);
}

TEST(ExpertBank, LayersAndSeedsStartDifferently) {
  ExpertBank bank(some_options(2));
  auto options = some_options(2);
  options.layer = 4;
  ExpertBank other(options);
  const auto& w1_EHD = bank->weights.w1_EHD;
  EXPECT_FALSE(torch::equal(w1_EHD, other->weights.w1_EHD));
  const auto before = w1_EHD.detach().clone();
  bank->initialise(2);
  EXPECT_FALSE(torch::equal(w1_EHD, before));
}

TEST(ExpertBank, DropoutIsForTrainingOnly) {
  auto options = some_options(1);
  options.dropout = 0.5;
  options.activation_dropout = 0.5;
  ExpertBank bank(options);
  ExpertBank plain(some_options(1));
  const auto x = torch::randn({5, 16});
  const auto routing = Routing::from_choices(torch::zeros({5}, torch::kInt64), torch::ones({5}), 1);
  EXPECT_TRUE(torch::equal(bank->forward(x, routing, {}, /*training=*/false),
                           plain->forward(x, routing, {}, /*training=*/true)));
  const auto dropped = bank->forward(x, routing, {}, /*training=*/true);
  EXPECT_FALSE(torch::equal(dropped, plain->forward(x, routing, {}, true)));
  EXPECT_NEAR((dropped == 0).to(torch::kFloat32).mean().item<double>(), 0.5, 0.2);
}

TEST(ExpertBank, ImpossibleOptionsAreErrors) {
  EXPECT_THROW(ExpertBank(some_options(0)), Error);
  auto options = some_options(1);
  options.activation = "tanh";
  EXPECT_THROW(ExpertBank{options}, Error);
  options = some_options(1);
  options.dropout = 1.5;
  EXPECT_THROW(ExpertBank{options}, Error);
}

}  // namespace
}  // namespace evomoe
