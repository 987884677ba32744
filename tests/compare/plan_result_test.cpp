// The result of a plan, from logs that are made up.
#include "evomoe/compare/plan_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/report/run_log.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class PlanResults : public ::testing::Test {
 protected:
  PlanResults() {
    plan.folder = folder.path();
    plan.baseline = "slow";
    plan.methods = {{"slow", "{}"}, {"fast", "{}"}};
    plan.unit = PlanUnit::kTokens;
    plan.lengths = {1e6, 2e6, 4e6};
  }

  /// A run that took twice the floating-point operations for each token where it is `fast`.
  RunOutcome made(const PlannedRun& run, double loss) {
    std::filesystem::create_directories(folder / run.name());
    auto log = RunLog::fresh(folder / run.name() / "log.jsonl");
    const double cost = run.method == "fast" ? 2e9 : 1e9;
    log.append("valid", static_cast<int64_t>(run.length / 1e3),
               {{"valid_perplexity", std::exp(loss)},
                {"valid_elapsed", run.length / 1e4},
                {"valid_flops", run.length * cost},
                {"valid_train_tokens", run.length}});
    return {run, ""};
  }
  static double curve(double tokens) { return 2 + 3 * std::pow(tokens / 1e6, -0.5); }

  testing::TemporaryFolder folder;
  ComparePlan plan;
};

TEST_F(PlanResults, ALossBecomesTheMultipleThatTheBaselineWouldNeed) {
  std::vector<RunOutcome> outcomes;
  for (const auto& run : runs_of(plan)) {
    // As good as the baseline with 1.5 times the tokens.
    outcomes.push_back(made(run, curve(run.method == "fast" ? 1.5 * run.length : run.length)));
  }
  const PlanResult result(plan, outcomes);
  const auto speed_ups = result.speed_ups();
  ASSERT_EQ(speed_ups.size(), 3U);
  for (const auto& speed_up : speed_ups) {
    EXPECT_EQ(speed_up.method, "fast");
    const auto multiple = [&](const char* name) {
      for (size_t i = 0; i < kPlanMeasures.size(); ++i) {
        if (std::string(kPlanMeasures[i].first) == name) return speed_up.multiples[i];
      }
      throw std::logic_error(name);
    };
    EXPECT_NEAR(*multiple("tokens").value, 1.5, 1e-3);
    EXPECT_NEAR(*multiple("updates").value, 1.5, 1e-3);
    EXPECT_NEAR(*multiple("flops").value, 0.75, 1e-3);
    // 1.5 times the longest is beyond the baseline's.
    EXPECT_EQ(multiple("tokens").extrapolated, speed_up.mean.length == 4e6);
  }
  const auto text = result.text(/*utf8=*/true);
  EXPECT_THAT(text, HasSubstr("1.50*"));
  EXPECT_THAT(text, HasSubstr("beyond slow's lengths: extrapolated"));
  const auto json = result.json();
  EXPECT_EQ(json.at("unit"), "tokens");
  EXPECT_NEAR(json.at("baseline_curves").at("tokens").at("a").get<double>(), 2, 1e-3);
  EXPECT_NEAR(json.at("speed_ups")[0].at("flops").at("multiple").get<double>(), 0.75, 1e-3);
  EXPECT_THAT(result.csv(), HasSubstr("run,method,tokens_budget,seed"));
}

TEST_F(PlanResults, ALossBelowTheBaselinesFloorIsNeverReached) {
  std::vector<RunOutcome> outcomes;
  for (const auto& run : runs_of(plan))
    outcomes.push_back(made(run, run.method == "fast" ? 1.5 : curve(run.length)));
  const PlanResult result(plan, outcomes);
  EXPECT_THAT(result.text(true), HasSubstr("never*"));
  EXPECT_TRUE(result.json().at("speed_ups")[0].at("tokens").at("multiple").is_null());
}

TEST_F(PlanResults, OneLengthHasNoCurve) {
  plan.lengths = {1e6};
  std::vector<RunOutcome> outcomes;
  for (const auto& run : runs_of(plan)) outcomes.push_back(made(run, 3));
  const PlanResult result(plan, outcomes);
  EXPECT_TRUE(result.speed_ups().empty());
  EXPECT_EQ(result.text(true).find("Effective"), std::string::npos);
}

TEST_F(PlanResults, EffortThatWasNotTheSameIsSaid) {
  plan.lengths = {1e6};
  plan.search["fast"] = {{"lr 0.1", "lr: 0.1\n"}, {"lr 0.2", "lr: 0.2\n"}};
  const auto runs = runs_of(plan, {{"fast", 1}});
  std::vector<RunOutcome> outcomes;
  for (const auto& run : runs) outcomes.push_back(made(run, 3));
  MethodSearch search{.method = "fast", .trials = {}, .cost = {}, .chosen = 1};
  search.trials = {{.setting = 0, .length = 1e6, .perplexity = {}, .failure = "it broke"},
                   {.setting = 1, .length = 1e6, .perplexity = 20.0, .failure = ""}};
  const PlanResult result(plan, outcomes, {search});
  const auto text = result.text(true);
  EXPECT_THAT(text, HasSubstr("did not have the same effort"));
  EXPECT_THAT(text, HasSubstr("1 for slow; 2 for fast"));
  EXPECT_THAT(text, HasSubstr("fast with lr 0.1 has failed: it broke"));
  EXPECT_EQ(result.json().at("search").at("fast").at("chosen"), "lr 0.2");
  EXPECT_EQ(result.json().at("search").at("slow").at("settings"), 1);
  // A method that found no setting has no runs.
  EXPECT_EQ(runs_of(plan, {}).size(), 1U);
}

TEST_F(PlanResults, RoundsOfASearchDoubleUpToTheShortestLength) {
  EXPECT_EQ(plan.trial_lengths(1), std::vector<double>{});
  EXPECT_EQ(plan.trial_lengths(2), (std::vector<double>{1e6}));
  EXPECT_EQ(plan.trial_lengths(5), (std::vector<double>{250'000, 500'000, 1e6}));
  EXPECT_EQ(plan.trial_lengths(8), (std::vector<double>{250'000, 500'000, 1e6}));
}

TEST_F(PlanResults, FoldersOfRunsSayLengthAndUnit) {
  PlannedRun run{.method = "a", .unit = PlanUnit::kFlops, .length = 2.5e15, .seed = 3};
  EXPECT_EQ(run.name(), "a.2.5e15flops-3");
  run.length = 2e6;
  EXPECT_EQ(run.name(), "a.2e6flops-3");
  run.length = 3600;
  EXPECT_EQ(run.name(), "a.3600flops-3");
  run.length = 1234567891;
  EXPECT_EQ(run.name(), "a.1234567891flops-3");
  run.unit = PlanUnit::kUpdates;
  run.length = 2'000'000;
  run.setting = 0;
  EXPECT_EQ(run.name(), "a.2000000-3");
  run.is_trial = true;
  EXPECT_EQ(run.name(), "a.s1.2000000-3");
}

}  // namespace
}  // namespace evomoe
