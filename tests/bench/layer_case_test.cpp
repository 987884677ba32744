#include "evomoe/bench/layer_case.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "evomoe/bench/layer.h"

namespace evomoe::bench {
namespace {

struct Recorded {
  double value, norm;
};

/// Checksums of a layer and the norms of the tensors behind them.
struct RecordedCase {
  LayerCase layer;
  std::map<std::string, Recorded> checksums;
};

/// Recorded from torch_loop of the PyTorch benchmarks (bench_layer.py, float32, torch 2.13.0); the
/// label is the one printed there.
const std::map<std::string, RecordedCase>& recorded_cases() {
  const auto layer = [](int64_t tokens, int64_t dim, int64_t hidden, int64_t experts, int64_t topk,
                        const std::string& skew) {
    return LayerCase{.tokens = tokens,
                     .dim = dim,
                     .hidden = hidden,
                     .experts = experts,
                     .topk = topk,
                     .skew = skew};
  };
  static const std::map<std::string, RecordedCase> cases = {
      {"S64-M32-H48-E4-k1-uniform",
       {layer(64, 32, 48, 4, 1, "uniform"),
        {{"loss", {4.06636889, 4.838}},
         {"grad_x", {-0.773726009, 3.687}},
         {"grad_router", {-2.34468144, 3.717}},
         {"grad_w1", {-0.974985228, 22.3}},
         {"grad_b1", {-2.34000546, 6.164}},
         {"grad_w2", {4.45983963, 27.85}},
         {"grad_b2", {17.0470524, 16.9}}}}},
      {"S64-M32-H48-E4-k2-zipf",
       {layer(64, 32, 48, 4, 2, "zipf"),
        {{"loss", {3.94138686, 4.893}},
         {"grad_x", {2.36098308, 3.741}},
         {"grad_router", {-10.0630188, 7.916}},
         {"grad_w1", {-6.96717068, 22.99}},
         {"grad_b1", {-3.30355708, 5.392}},
         {"grad_w2", {-3.89189258, 28.49}},
         {"grad_b2", {11.9095712, 15.48}}}}},
      {"S65-M33-H47-E8-k3-balanced",
       {layer(65, 33, 47, 8, 3, "balanced"),
        {{"loss", {-1.86737199, 4.058}},
         {"grad_x", {-2.00025299, 3.254}},
         {"grad_router", {-5.41516859, 7.453}},
         {"grad_w1", {12.4620982, 20.45}},
         {"grad_b1", {0.609589291, 4.761}},
         {"grad_w2", {1.42912383, 24.8}},
         {"grad_b2", {5.25127764, 13.37}}}}},
      {"S64-M32-H48-E4-k4-uniform",
       {layer(64, 32, 48, 4, 4, "uniform"),
        {{"loss", {2.09848915, 4.462}},
         {"grad_x", {1.74087955, 3.823}},
         {"grad_router", {-4.07002803, 10.5}},
         {"grad_w1", {-18.3882205, 25.39}},
         {"grad_b1", {-0.0909318758, 5.071}},
         {"grad_w2", {-38.0702392, 31.74}},
         {"grad_b2", {9.15753204, 13.32}}}}},
  };
  return cases;
}

void expect_recorded(const LayerCase& layer, const std::map<std::string, Recorded>& recorded) {
  const auto found = layer_checksums(layer);
  ASSERT_EQ(found.size(), recorded.size());
  for (const auto& [name, checksum] : recorded)
    EXPECT_NEAR(found.at(name), checksum.value, 1e-4 * checksum.norm) << layer.label() << name;
}

TEST(LayerCase, TheLayerHasTheChecksumsOfThePyTorchBenchmarks) {
  for (const auto& [label, recorded] : recorded_cases()) {
    EXPECT_EQ(recorded.layer.label(), label);
    expect_recorded(recorded.layer, recorded.checksums);
  }
}

TEST(LayerCase, ADenseToSparseGateThatHasTurnedSparseIsTheTop1Layer) {
  const auto& recorded = recorded_cases().at("S64-M32-H48-E4-k1-uniform");
  auto layer = recorded.layer;
  layer.dts = "argmax";
  EXPECT_EQ(layer.label(), "S64-M32-H48-E4-k1-uniform");
  expect_recorded(layer, recorded.checksums);
}

TEST(LayerCase, ADenseToSparseGateThatIsStillDenseIsTheLayerOfAllExperts) {
  const auto& recorded = recorded_cases().at("S64-M32-H48-E4-k4-uniform");
  auto layer = recorded.layer;
  layer.dts = "all";
  EXPECT_EQ(layer.label(), "S64-M32-H48-E4-k4-uniform");
  expect_recorded(layer, recorded.checksums);
}

TEST(LayerCase, GatedExpertsHaveThreeMatricesAndNoBiases) {
  LayerCase layer{.tokens = 64, .dim = 32, .hidden = 48, .experts = 4, .topk = 2};
  const auto gflop = layer.useful_gflop(128);
  layer.ffn = "swiglu";
  EXPECT_EQ(layer.label(), "S64-M32-H48-E4-k2-uniform-swiglu");
  EXPECT_DOUBLE_EQ(layer.useful_gflop(128), 1.5 * gflop);
  // The gradient of w1 is that of w1 and w3 as one tensor, which the benchmarks hold.
  expect_recorded(layer, {{"loss", {-1.01946777, 1.56}},
                          {"grad_x", {-0.368896064, 1.876}},
                          {"grad_router", {-0.899411779, 1.923}},
                          {"grad_w1", {8.365896, 12.93}},
                          {"grad_w2", {4.32550569, 10.89}}});
  const auto of_swiglu = layer_checksums(layer);
  layer.ffn = "geglu";
  EXPECT_NE(layer_checksums(layer).at("loss"), of_swiglu.at("loss"));
}

TEST(LayerCase, AnotherPhaseOfTheGateHasALabelOfItsOwn) {
  const LayerCase layer{.topk = 1, .dts = "0.3"};
  EXPECT_EQ(layer.label(), "S2048-M512-H2048-E8-k1-uniform-dts-0.3");
}

int64_t largest_load(const LayerCase& layer, bool balanced) {
  const auto data = layer_data(layer);
  auto moe = make_layer(layer, data, balanced);
  SelfCommunicator communicator;
  RoutingContext context;
  context.communicator = &communicator;
  const auto stats = moe->forward(data.x_TD.unsqueeze(0), context).stats;
  EXPECT_EQ(stats.assignments, layer.tokens * layer.topk);
  return stats.load_E.max().item<int64_t>();
}

TEST(LayerCase, LoadsFollowTheSkew) {
  LayerCase layer{.tokens = 64, .dim = 32, .hidden = 8, .experts = 8, .topk = 2};
  layer.skew = "balanced";
  EXPECT_EQ(largest_load(layer, false), 16);
  layer.skew = "zipf";
  EXPECT_GT(largest_load(layer, false), 24);
  EXPECT_EQ(largest_load(layer, /*balanced=*/true), 16) << "the router's choice was to be replaced";
}

TEST(LayerCase, CountsTheMatrixProductsOfBothPasses) {
  // 2 matrices, 3 products each, 2 operations a multiply-add.
  const LayerCase layer{.tokens = 10, .dim = 100, .hidden = 1000};
  EXPECT_DOUBLE_EQ(layer.useful_gflop(10), 12 * 10 * 100 * 1000 * 1e-9);
}

TEST(LayerCase, RefusesWhatCannotBe) {
  const auto message = [](const LayerCase& layer) -> std::string {
    try {
      layer.validate();
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message({.experts = 8, .topk = 9}), ::testing::HasSubstr("--topk 9"));
  EXPECT_THAT(message({.dim = 32, .experts = 64}), ::testing::HasSubstr("--experts 64"));
  for (const auto* phase : {"warm", "0", "-1", "0.3x", "inf", "nan"})
    EXPECT_THAT(message({.dts = phase}), ::testing::HasSubstr(phase));
  EXPECT_EQ(message({.dts = "0.5"}), "");
}

}  // namespace
}  // namespace evomoe::bench
