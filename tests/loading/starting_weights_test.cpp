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

TEST(StartingState, ADenseBlockIsDividedAmongTheSharedExpertThatStaysAndTheOneThatIsSpawned) {
  const std::string layer = "d.layers.0.", experts = layer + "moe_layer.experts.";
  torch::manual_seed(1);
  const TensorMap dense = {{layer + "fc1.weight", torch::randn({6, 2})},
                           {layer + "fc1.bias", torch::randn({6})},
                           {layer + "fc2.weight", torch::randn({2, 6})},
                           {layer + "fc2.bias", torch::randn({2})}};
  const auto own_with = [&](int64_t block, int64_t expert) -> TensorMap {
    return {{layer + "fc1.weight", torch::zeros({block, 2})},
            {layer + "fc1.bias", torch::zeros({block})},
            {layer + "fc2.weight", torch::zeros({2, block})},
            {layer + "fc2.bias", torch::zeros({2})},
            {experts + "w1", torch::zeros({1, expert, 2})},
            {experts + "b1", torch::zeros({1, expert})},
            {experts + "w2", torch::zeros({1, 2, expert})},
            {experts + "b2", torch::zeros({1, 2})}};
  };
  const auto own = own_with(2, 4);
  const auto state = starting_state(dense, own);
  ASSERT_EQ(state.size(), own.size());
  for (const auto& [name, tensor] : own) EXPECT_EQ(state.at(name).sizes(), tensor.sizes()) << name;
  const auto block = [](const torch::Tensor& x, const torch::Tensor& w1, const torch::Tensor& b1,
                        const torch::Tensor& w2, const torch::Tensor& b2) {
    return torch::linear(torch::relu(torch::linear(x, w1, b1)), w2, b2);
  };
  const auto x = torch::randn({5, 2});
  const auto of_dense = [&](const TensorMap& map) {
    return block(x, map.at(layer + "fc1.weight"), map.at(layer + "fc1.bias"),
                 map.at(layer + "fc2.weight"), map.at(layer + "fc2.bias"));
  };
  const auto of_expert = block(x, state.at(experts + "w1")[0], state.at(experts + "b1")[0],
                               state.at(experts + "w2")[0], state.at(experts + "b2")[0]);
  EXPECT_TRUE(torch::allclose(of_dense(state) + of_expert, of_dense(dense), 1e-5, 1e-6));
  // Widths that do not fit are for loading to refuse.
  EXPECT_EQ(starting_state(dense, own_with(2, 3)).at(layer + "fc1.weight").size(0), 6);
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
