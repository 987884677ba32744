#include "evomoe/routing/router_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"
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

TEST(RouterStats, ReferenceMetricsOfMicroBatchesAreAddedByName) {
  RouterStats sum, second;
  sum.reference = {{"entropy_gating", torch::tensor(1.0)}};
  second.reference = {{"overflow", torch::tensor(8.0)}, {"entropy_gating", torch::tensor(2.0)}};
  sum += second;
  ASSERT_EQ(sum.reference.size(), 2);
  EXPECT_FLOAT_EQ(sum.reference[0].second.item<float>(), 3);
  EXPECT_FLOAT_EQ(sum.reference[1].second.item<float>(), 8);
}

}  // namespace
}  // namespace evomoe
