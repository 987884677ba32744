#include "evomoe/loading/starting_weights.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace evomoe {
namespace {

TEST(StartingState, ADenseBlockBecomesTheSharedExpertAndTheGateStays) {
  const TensorMap dense = {{"d.layers.0.fc1.weight", torch::full({4, 2}, 1.0)},
                           {"d.layers.0.fc1.bias", torch::full({4}, 2.0)},
                           {"d.layers.0.fc2.weight", torch::full({2, 4}, 3.0)},
                           {"d.layers.0.fc2.bias", torch::full({2}, 4.0)},
                           {"d.layers.1.fc1.weight", torch::full({4, 2}, 5.0)},
                           {"d.embed", torch::full({3}, 6.0)}};
  const TensorMap own = {{"d.layers.0.moe_layer.experts.w1", torch::zeros({1, 4, 2})},
                         {"d.layers.0.moe_layer.experts.b1", torch::zeros({1, 4})},
                         {"d.layers.0.moe_layer.experts.w2", torch::zeros({1, 2, 4})},
                         {"d.layers.0.moe_layer.experts.b2", torch::zeros({1, 2})},
                         {"d.layers.0.moe_layer.gate.wg.weight", torch::full({8, 2}, 7.0)},
                         {"d.layers.1.fc1.weight", torch::zeros({4, 2})},
                         {"d.embed", torch::zeros({3})}};
  const auto state = starting_state(dense, own);
  ASSERT_EQ(state.size(), own.size());
  const std::map<std::string, double> expected = {{"d.layers.0.moe_layer.experts.w1", 1},
                                                  {"d.layers.0.moe_layer.experts.b1", 2},
                                                  {"d.layers.0.moe_layer.experts.w2", 3},
                                                  {"d.layers.0.moe_layer.experts.b2", 4},
                                                  {"d.layers.0.moe_layer.gate.wg.weight", 7},
                                                  {"d.layers.1.fc1.weight", 5},
                                                  {"d.embed", 6}};
  for (const auto& [name, value] : expected) {
    ASSERT_TRUE(state.contains(name)) << name;
    EXPECT_EQ(state.at(name).sizes(), own.at(name).sizes()) << name;
    EXPECT_TRUE(torch::all(state.at(name) == value).item<bool>()) << name;
  }
}

TEST(StartingState, AGatedBlockBecomesAGatedExpert) {
  const TensorMap dense = {{"d.layers.0.fc1.weight", torch::full({4, 2}, 1.0)},
                           {"d.layers.0.fc2.weight", torch::full({2, 4}, 2.0)},
                           {"d.layers.0.fc3.weight", torch::full({4, 2}, 3.0)}};
  const TensorMap own = {{"d.layers.0.moe_layer.experts.w1", torch::zeros({1, 4, 2})},
                         {"d.layers.0.moe_layer.experts.w2", torch::zeros({1, 2, 4})},
                         {"d.layers.0.moe_layer.experts.w3", torch::zeros({1, 4, 2})}};
  const auto state = starting_state(dense, own);
  ASSERT_EQ(state.size(), 3U);
  for (const auto& [name, value] : {std::pair{"w1", 1.0}, {"w2", 2.0}, {"w3", 3.0}}) {
    const auto& tensor = state.at(std::string("d.layers.0.moe_layer.experts.") + name);
    EXPECT_EQ(tensor.size(0), 1);
    EXPECT_TRUE(torch::all(tensor == value).item<bool>()) << name;
  }
}

TEST(StartingState, WhatADenseBlockDoesNotHaveIsLeftForLoadingToName) {
  const TensorMap dense = {{"d.layers.0.fc1.weight", torch::full({4, 2}, 1.0)},
                           {"d.layers.0.fc2.weight", torch::full({2, 4}, 3.0)}};
  const TensorMap own = {{"d.layers.0.moe_layer.experts.w1", torch::zeros({1, 4, 2})},
                         {"d.layers.0.moe_layer.experts.w2", torch::zeros({1, 2, 4})},
                         {"d.layers.0.moe_layer.experts.w3", torch::zeros({1, 4, 2})}};
  const auto state = starting_state(dense, own);
  EXPECT_EQ(state.size(), 2U);
  EXPECT_FALSE(state.contains("d.layers.0.moe_layer.experts.w3"));
}

TEST(StartingState, AMixtureOfExpertsIsTakenAsItIs) {
  const TensorMap mixture = {{"d.layers.0.moe_layer.experts.w1", torch::ones({4, 4, 2})}};
  const TensorMap own = {{"d.layers.0.moe_layer.experts.w1", torch::zeros({4, 4, 2})},
                         {"d.layers.0.moe_layer.gate.wg.weight", torch::zeros({4, 2})}};
  EXPECT_FALSE(is_dense(mixture));
  EXPECT_EQ(starting_state(mixture, own).size(), 1U);  // and loading names what is missing
}

TEST(StartingState, HeadsOfSentencesAreThoseOfTheNewModel) {
  const TensorMap other = {{"encoder.x", torch::ones({1})},
                           {"classification_heads.old.dense.weight", torch::ones({1})}};
  const TensorMap own = {{"encoder.x", torch::zeros({1})},
                         {"classification_heads.new.dense.weight", torch::zeros({1})}};
  const auto state = starting_state(other, own);
  EXPECT_EQ(state.size(), 2U);
  EXPECT_EQ(state.at("encoder.x").item<double>(), 1);
  EXPECT_TRUE(state.contains("classification_heads.new.dense.weight"));
}

}  // namespace
}  // namespace evomoe
