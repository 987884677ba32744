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

TEST(ExpertBank, InitialValuesAreThoseOfALinear) {
  ExpertBank bank(some_options(8));
  bank->initialise(5);
  for (const auto& [tensor, bound] : {std::pair{bank->w1, 0.25}, std::pair{bank->b1, 0.25},
                                      std::pair{bank->w2, 0.125}, std::pair{bank->b2, 0.125}}) {
    EXPECT_LE(tensor.abs().max().item<double>(), bound);
    EXPECT_GT(tensor.abs().max().item<double>(), 0.95 * bound);
    EXPECT_NEAR(tensor.mean().item<double>(), 0, 0.15 * bound);
    EXPECT_NEAR(tensor.std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound);
  }
}

TEST(ExpertBank, AnExpertStartsTheSameForAnyNumberOfExperts) {
  ExpertBank few(some_options(2)), many(some_options(6));
  few->initialise(5);
  many->initialise(5);
  EXPECT_TRUE(torch::equal(few->w1, many->w1.slice(0, 0, 2)));
  EXPECT_TRUE(torch::equal(few->w2, many->w2.slice(0, 0, 2)));
  EXPECT_FALSE(torch::equal(many->w1[0], many->w1[1]));
}

TEST(ExpertBank, LayersAndSeedsStartDifferently) {
  ExpertBank bank(some_options(2));
  auto options = some_options(2);
  options.layer = 4;
  ExpertBank other(options);
  EXPECT_FALSE(torch::equal(bank->w1, other->w1));
  const auto before = bank->w1.detach().clone();
  bank->initialise(2);
  EXPECT_FALSE(torch::equal(bank->w1, before));
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
