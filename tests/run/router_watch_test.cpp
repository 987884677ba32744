#include "evomoe/run/router_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using Loads = std::vector<int64_t>;

RouterStats stats_of(const Loads& load_E) {
  RouterStats stats;
  stats.load_E = torch::tensor(load_E, torch::kInt64);
  return stats;
}

/// An interval of updates whose loads of layer 1 these are.
std::vector<RouterFinding> interval(RouterWatch& watch, const std::vector<Loads>& updates) {
  for (const auto& load_E : updates) watch.add({{1, stats_of(load_E)}});
  return watch.end_interval();
}

/// In which intervals a router of these loads is told of.
std::vector<bool> told_of(const std::vector<Loads>& intervals) {
  RouterWatch watch;
  std::vector<bool> told;
  for (const auto& load_E : intervals) told.push_back(!interval(watch, {load_E}).empty());
  return told;
}

TEST(RouterWatch, ACollapsedLayerIsToldOfOnceAfterSeveralIntervals) {
  RouterWatch watch;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(interval(watch, {{60, 10, 20, 10}}).empty());
  const auto findings = interval(watch, {{60, 10, 20, 10}});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_TRUE(findings[0].collapsed);
  EXPECT_EQ(findings[0].layer, 1);
  EXPECT_EQ(findings[0].experts, 4);
  EXPECT_EQ(findings[0].busiest, 0);
  EXPECT_DOUBLE_EQ(findings[0].busiest_share, 0.6);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(interval(watch, {{60, 10, 20, 10}}).empty());
}

TEST(RouterWatch, ACollapseIsOneExpertWithMostOrMostExpertsWithNothing) {
  const auto collapses = [](const Loads& load_E) -> bool {
    return told_of({load_E, load_E, load_E})[2];
  };
  EXPECT_TRUE(collapses({51, 17, 16, 16}));
  EXPECT_FALSE(collapses({50, 18, 16, 16}));
  EXPECT_TRUE(collapses({0, 0, 0, 0, 0, 30, 35, 35})) << "5 of 8 dead";
  EXPECT_FALSE(collapses({0, 0, 0, 0, 25, 25, 25, 25})) << "no more than half";
  EXPECT_FALSE(collapses({85, 15})) << "of two experts one has half anyway";
  EXPECT_TRUE(collapses({95, 5}));
  EXPECT_FALSE(collapses({55, 25, 20}));
  EXPECT_TRUE(collapses({65, 20, 15}));
  EXPECT_FALSE(collapses({100})) << "the shared expert";
  EXPECT_FALSE(collapses({100, 100, 100, 100})) << "every token to every expert";
  EXPECT_FALSE(collapses({0, 0, 0, 0})) << "no token at all";
}

TEST(RouterWatch, LoadsAreThoseOfTheWholeInterval) {
  RouterWatch watch;
  for (int i = 0; i < 4; ++i) {
    // Of one token an update each expert has its turn.
    EXPECT_TRUE(interval(watch, {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}).empty());
  }
}

TEST(RouterWatch, ARecoveryAndANewCollapseAreToldOfAgain) {
  const Loads bad = {90, 5, 5, 0}, good = {25, 25, 25, 25};
  EXPECT_EQ(told_of({bad, bad, good, bad, bad, bad}),
            (std::vector<bool>{false, false, false, false, false, true}))
      << "not in a row at first";
  EXPECT_EQ(told_of({bad, bad, bad, bad, good, good, bad, bad, bad}),
            (std::vector<bool>{false, false, true, false, true, false, false, false, true}));
  RouterWatch watch;
  for (int i = 0; i < 3; ++i) interval(watch, {bad});
  const auto findings = interval(watch, {good});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_FALSE(findings[0].collapsed);
  EXPECT_THAT(finding_text(findings[0], TrainOptions()), HasSubstr("recovered"));
}

TEST(RouterWatch, LayersAreJudgedEachForItself) {
  RouterWatch watch;
  std::vector<RouterFinding> findings;
  for (int i = 0; i < 3; ++i) {
    watch.add({{1, stats_of({25, 25, 25, 25})}, {3, stats_of({0, 100, 0, 0})}});
    findings = watch.end_interval();
  }
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].layer, 3);
  EXPECT_EQ(findings[0].dead, 3);
  EXPECT_EQ(findings[0].busiest, 1);
}

TEST(RouterWatch, ASpawnIsANewBeginning) {
  RouterWatch watch;
  watch.add({{1, stats_of({100})}});
  EXPECT_TRUE(interval(watch, {{30, 30, 30, 30}}).empty());
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(interval(watch, {{90, 5, 5, 0}}).empty());
}

TEST(RouterWatch, TheRemedyIsOneThatTheRunsCriterionHas) {
  RouterFinding finding;
  finding.layer = 2;
  finding.collapsed = true;
  finding.experts = 8;
  finding.dead = 6;
  finding.busiest_share = 0.83;
  TrainOptions options;
  options.criterion.criterion = "moe_cross_entropy";
  options.criterion.moe_gate_loss_wt = 0.01;
  EXPECT_THAT(finding_text(finding, options),
              AllOf(HasSubstr("layer 2"), HasSubstr("83 %"), HasSubstr("6 of 8"),
                    HasSubstr("--moe-gate-loss-wt (now 0.01)")));
  options.criterion.criterion = "cross_entropy";
  EXPECT_THAT(finding_text(finding, options),
              AllOf(HasSubstr("use moe_cross_entropy"), Not(HasSubstr("now 0.01"))));
  options.criterion.criterion = "masked_lm_gumbel";
  EXPECT_THAT(finding_text(finding, options), HasSubstr("use moe_masked_lm"));
  options.criterion.criterion = "sentence_prediction";
  EXPECT_THAT(finding_text(finding, options), AllOf(HasSubstr("--lr"), Not(HasSubstr("moe_"))));
}

}  // namespace
}  // namespace evomoe
