// evomoe train --budget.
#include "evomoe/report/run_history.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class Budgets : public Commands {
 protected:
  /// As train_arguments(), of the run's length.
  std::string train(const std::string& run, const std::string& length) const {
    auto arguments = train_arguments(run);
    const std::string updates = "--max-update 24 ";
    arguments.replace(arguments.find(updates), updates.size(), length + " ");
    return arguments + "--lr-scheduler cosine --warmup-updates 4 ";
  }
  ValidationPoint last(const std::string& run) const {
    return validation_points(read_run_history((folder_ / run).string()), "valid").back();
  }
};

TEST_F(Budgets, ARunOfTokensOrOperationsIsThatOfAsManyUpdates) {
  ASSERT_EQ(evomoe(train("updates", "--max-update 24")).exit_code, 0);
  const auto end = last("updates");
  for (const auto& budget :
       {fmt::format("tokens={}", end.tokens), fmt::format("tokens={}", end.tokens - 1),
        fmt::format("flops={}", end.flops)}) {
    ASSERT_EQ(evomoe(train(budget, "--budget " + budget)).exit_code, 0);
    EXPECT_EQ(last(budget).updates, 24);
    EXPECT_EQ(model_file(budget), model_file("updates")) << budget;
  }
}

TEST_F(Budgets, ARunThatStopsAndGoesOnIsTheSame) {
  const auto evolving = evolution() + "--log-interval 1 ";
  ASSERT_EQ(evomoe(train("whole", "--budget flops=4e7") + evolving).exit_code, 0);
  const auto updates = last("whole").updates;
  ASSERT_GT(updates, 12);
  EXPECT_GE(last("whole").flops, 4e7);
  // Ended by the clock, of which the schedule knows nothing.
  ASSERT_EQ(evomoe(train("part", "--budget flops=4e7 --stop-time-hours 1e-6") + evolving).exit_code,
            0);
  ASSERT_LT(last("part").updates, updates);
  ASSERT_EQ(evomoe(train("part", "--budget flops=4e7") + evolving).exit_code, 0);
  EXPECT_EQ(last("part").updates, updates);
  EXPECT_EQ(model_file("part"), model_file("whole"));
  // It is complete.
  const auto again = evomoe(train("part", "--budget flops=4e7") + evolving);
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_EQ(last("part").updates, updates);
}

TEST_F(Budgets, ARunOfSecondsEndsWithALowLearningRate) {
  ASSERT_EQ(evomoe(train("timed", "--budget seconds=1.5 --log-interval 1")).exit_code, 0);
  const auto history = read_run_history((folder_ / "timed").string());
  EXPECT_GE(last("timed").seconds, 1.5);
  std::vector<double> rates;
  for (const auto& line : history.lines) {
    if (line.at("tag") == "train_inner") rates.push_back(line.at("lr").get<double>());
  }
  ASSERT_GT(rates.size(), 8U);
  EXPECT_GT(*std::ranges::max_element(rates), 0.0025);
  EXPECT_LT(rates[rates.size() - 2], 0.0015);
}

TEST_F(Budgets, AWarmUpThatIsLongerThanTheBudgetIsSaid) {
  const auto result = evomoe(train("short", "--budget tokens=100"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("within the warm-up of 4"));
}

TEST_F(Budgets, WhatCannotBeMeantIsRefused) {
  expect_refused(train("x", "--budget tokens=100 --max-update 3"), {"--budget", "--max-update"});
  expect_refused(train("x", "--budget 100"), {"--budget 100", "flops=1e15"});
}

}  // namespace
}  // namespace evomoe
