#include "evomoe/routing/router_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/routing/reference_metrics.h"
#include "evomoe/routing/router_stats.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

RouterStats stats_of(const torch::Tensor& selected_TE, const torch::Tensor& probability_TE,
                     const torch::Tensor& valid_T = {}) {
  auto routing = Routing::from_mask(selected_TE, probability_TE);
  record_stats(routing, selected_TE, probability_TE, valid_T);
  return routing.stats;
}

TEST(RouterMetrics, CountWhatTheyAreNamedAfter) {
  const auto selected_TE = torch::tensor(
      {{true, false, false}, {true, true, false}, {false, false, false}, {true, false, false}});
  const auto probability_TE =
      torch::tensor({{.7, .2, .1}, {.4, .4, .2}, {.5, .3, .2}, {.2, .7, .1}}, torch::kFloat64);
  auto stats = stats_of(selected_TE, probability_TE);
  stats.dropped = torch::tensor(1, torch::kInt64);
  const auto metrics = router_metrics(stats);
  EXPECT_EQ(metrics.tokens, 4);
  EXPECT_EQ(metrics.load_E, (std::vector<int64_t>{3, 1, 0}));
  EXPECT_EQ(metrics.load_min, 0);
  EXPECT_EQ(metrics.load_max, 3);
  EXPECT_EQ(metrics.dead_experts, 1);
  EXPECT_NEAR(metrics.max_violation, 3 / (4.0 / 3) - 1, 1e-12);
  EXPECT_NEAR(metrics.mean_active, 1, 1e-12);
  EXPECT_EQ(metrics.active_p95, 2);
  EXPECT_NEAR(metrics.dropped_share, 0.25, 1e-12);
  EXPECT_NEAR(metrics.unrouted_share, 0.25, 1e-12);
  EXPECT_NEAR(metrics.non_argmax_share, 0.25, 1e-12);  // the last token
  EXPECT_NEAR(metrics.token_entropy,
              -(probability_TE * probability_TE.log()).sum().item<double>() / 4, 1e-12);
}

TEST(RouterMetrics, NothingRoutedGivesZerosAndNoForwardPassIsAnError) {
  const auto metrics =
      router_metrics(stats_of(torch::zeros({0, 3}, torch::kBool), torch::zeros({0, 3})));
  EXPECT_EQ(metrics.dead_experts, 3);
  EXPECT_EQ(metrics.load_cv, 0);
  EXPECT_EQ(metrics.mean_active, 0);
  EXPECT_EQ(metrics.dropped_share, 0);
  EXPECT_THAT([] { router_metrics(RouterStats{}); },
              ThrowsMessage<Error>(HasSubstr("no forward pass")));
}

TEST(RouterStats, TwoMicroBatchesAddUpToOne) {
  torch::manual_seed(10);
  const auto probability_TE = torch::softmax(torch::randn({20, 4}, torch::kFloat64), 1);
  const auto selected_TE = torch::rand({20, 4}) < 0.5;
  const auto valid_T = torch::rand({20}) < 0.8;
  const auto whole = stats_of(selected_TE, probability_TE, valid_T);
  RouterStats sum;
  for (const auto& [begin, end] : {std::pair{0, 7}, std::pair{7, 20}}) {
    sum += stats_of(selected_TE.slice(0, begin, end), probability_TE.slice(0, begin, end),
                    valid_T.slice(0, begin, end));
  }
  EXPECT_TRUE(torch::equal(sum.load_E, whole.load_E));
  EXPECT_TRUE(torch::equal(sum.active_E1, whole.active_E1));
  EXPECT_TRUE(torch::equal(sum.non_argmax, whole.non_argmax));
  EXPECT_NEAR(sum.entropy_sum.item<double>(), whole.entropy_sum.item<double>(), 1e-12);
  EXPECT_EQ(sum.tokens, whole.tokens);
  EXPECT_EQ(sum.assignments, whole.assignments);
  EXPECT_THAT(
      [&] {
        sum += stats_of(torch::ones({2, 3}, torch::kBool), torch::rand({2, 3}));
      },
      ThrowsMessage<Error>(HasSubstr("of 4 and of 3 experts")));
}

/// Stands for two processes that hold the same numbers.
class TwoEqualProcesses : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  void all_reduce_sum(torch::Tensor& tensor) override {
    tensor.mul_(2);
    ++exchanges;
  }
  int exchanges = 0;
};

TEST(RouterStats, AllReduceAddsEveryCountInOneExchange) {
  torch::manual_seed(11);
  std::vector<RouterStats> layers;
  for (const int64_t experts : {4, 6}) {
    layers.push_back(
        stats_of(torch::rand({9, experts}) < 0.5, torch::softmax(torch::randn({9, experts}), 1)));
  }
  const auto before = layers;
  TwoEqualProcesses communicator;
  all_reduce(layers, communicator);
  EXPECT_EQ(communicator.exchanges, 1);
  for (size_t i = 0; i < layers.size(); ++i) {
    auto doubled = before[i];
    doubled += before[i];
    EXPECT_TRUE(torch::equal(layers[i].load_E, doubled.load_E));
    EXPECT_TRUE(torch::equal(layers[i].active_E1, doubled.active_E1));
    EXPECT_TRUE(torch::equal(layers[i].dropped, doubled.dropped));
    EXPECT_TRUE(torch::equal(layers[i].non_argmax, doubled.non_argmax));
    EXPECT_DOUBLE_EQ(layers[i].entropy_sum.item<double>(), doubled.entropy_sum.item<double>());
    EXPECT_EQ(layers[i].tokens, doubled.tokens);
    EXPECT_EQ(layers[i].assignments, doubled.assignments);
  }
}

TEST(ReferenceMetrics, AreAveragedOverLayersAndMissingOnesCountAsZero) {
  std::vector<RouterStats> layers(2);
  layers[0].reference = {{"entropy_gating", torch::tensor(1.0)}, {"overflow", torch::tensor(8.0)}};
  layers[1].reference = {{"entropy_gating", torch::tensor(2.0)}};
  const auto mean = mean_reference_metrics(layers);
  ASSERT_EQ(mean.size(), 2);
  EXPECT_EQ(mean[0].first, "entropy_gating");
  EXPECT_FLOAT_EQ(mean[0].second.item<float>(), 1.5);
  EXPECT_FLOAT_EQ(mean[1].second.item<float>(), 4);
  EXPECT_TRUE(mean_reference_metrics({}).empty());
  // Micro-batches are added: the trainer divides by their number.
  RouterStats sum;
  sum += layers[0];
  sum += layers[1];
  EXPECT_FLOAT_EQ(sum.reference[0].second.item<float>(), 3);
}

}  // namespace
}  // namespace evomoe
