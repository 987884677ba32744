#include "evomoe/report/run_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RunHistoryTest : public ::testing::Test {
 protected:
  std::string make_run(const std::string& name, const std::string& log) {
    fs::create_directories(folder_ / name);
    testing::write_text(folder_ / (name + "/log.jsonl"), log);
    return (folder_ / name).string();
  }
  template <typename Call>
  std::string error_of(Call call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  testing::TemporaryFolder folder_;
};

// As this version writes it, and as the one before did: strings, no totals.
constexpr const char* kNew =
    R"({"tag": "train_inner", "completed_updates": 10, "loss": 9.5, "wpb": 100.0, "ups": 2.0, )"
    R"("evolution": {"stage": "sparse", "temperature": 0.5}, "active_experts": 2.5, )"
    R"("routers": [{"layer": 1, "dead_experts": 1, "max_vio": 0.5}, )"
    R"({"layer": 3, "dead_experts": 2, "max_vio": 0.25}], "flops_per_token": 1000.0, )"
    R"("ms_per_update": 400.0, "elapsed": 5.0, "flops": 1e6, "train_tokens": 1000.0})";
constexpr const char* kOld =
    R"({"tag": "train_inner", "completed_updates": 10, "loss": "9.5", "wpb": "100", "ups": "2.5", )"
    R"("evolution": {"stage": "sparse", "temperature": 0.5}, "active_experts": 2.5, )"
    R"("routers": [{"layer": 1, "dead_experts": 3}], "flops_per_token": 1000.0, "elapsed": 5.0})";

TEST_F(RunHistoryTest, LogsWithNumbersAndOlderOnesWithStringsAreReadAlike) {
  for (const auto* line : {kNew, kOld}) {
    const auto points = training_points(read_run_history(make_run("run", line)));
    ASSERT_EQ(points.size(), 1U);
    const auto& point = points.front();
    EXPECT_EQ(point.updates, 10);
    EXPECT_EQ(point.seconds, 5);
    EXPECT_EQ(point.tokens, 1000);
    EXPECT_EQ(point.flops, 1e6);
    EXPECT_EQ(point.loss, 9.5);
    EXPECT_EQ(point.temperature, 0.5);
    EXPECT_EQ(point.active_experts, 2.5);
    EXPECT_EQ(point.dead_experts, 3);
    EXPECT_EQ(point.ms_per_update, 400);
    EXPECT_EQ(point.flops_per_update, 100000);
  }
  const auto points = training_points(read_run_history(make_run("run", kNew)));
  EXPECT_EQ(points.front().max_violation, 0.5) << "of the worst layer";
}

TEST_F(RunHistoryTest, AHalfWrittenLastLineIsLeftOutAndSaidOfWhateverItsLength) {
  const std::string whole = std::string(kOld) + "\n" + kNew + "\n";
  const size_t second = std::string(kOld).size() + 1;
  for (size_t size = second + 1; size + 1 < whole.size(); ++size) {
    const auto run = read_run_history(make_run("run", whole.substr(0, size)));
    ASSERT_EQ(run.lines.size(), 1U) << size;
    ASSERT_TRUE(run.cut) << size;
  }
  EXPECT_FALSE(read_run_history(make_run("run", whole)).cut);
  EXPECT_FALSE(read_run_history(make_run("run", whole.substr(0, second))).cut);
  EXPECT_FALSE(read_run_history(make_run("run", "")).cut) << "a run that has just begun";
}

TEST_F(RunHistoryTest, ValuesOfAnotherKindAreTakenForMissing) {
  const auto run = read_run_history(
      make_run("run", R"({"tag": "train_inner", "completed_updates": 1, "loss": [1], "wpb": null, )"
                      R"("evolution": 3, "routers": {"layer": 1}, "active_experts": "many"})"
                      "\n"
                      R"({"tag": "stage", "stage": 7})"
                      "\n"
                      R"({"loss": 1})"));
  const auto points = training_points(run);
  ASSERT_EQ(points.size(), 1U);
  EXPECT_FALSE(points[0].loss || points[0].temperature || points[0].active_experts ||
               points[0].max_violation || points[0].ms_per_update || points[0].flops_per_update);
  EXPECT_TRUE(std::isnan(points[0].tokens) && std::isnan(points[0].seconds));
  EXPECT_TRUE(stage_marks(run).empty());
}

TEST_F(RunHistoryTest, AValidationWithoutATargetIsLeftOut) {
  const auto run = read_run_history(make_run(
      "run", R"({"tag": "valid", "completed_updates": 5, "valid_elapsed": 1, "valid_flops": 1, )"
             R"("valid_train_tokens": 1})"
             "\n"
             R"({"tag": "valid", "completed_updates": 9, "valid_perplexity": 50.5, )"
             R"("valid_elapsed": 2, "valid_flops": 2, "valid_train_tokens": 2})"
             "\n"));
  const auto points = validation_points(run, "valid");
  ASSERT_EQ(points.size(), 1U);
  EXPECT_EQ(points[0].updates, 9);
}

TEST_F(RunHistoryTest, StagesAndValidationsAreFoundByTheirTags) {
  const auto run = read_run_history(
      make_run("run", R"({"tag": "stage", "completed_updates": 9, "stage": "sparse"})"
                      "\n"
                      R"({"tag": "test", "completed_updates": 20, "test_perplexity": 50.5, )"
                      R"("test_elapsed": 60, "test_flops": 2e9, "test_train_tokens": 1000})"
                      "\n"
                      R"({"tag": "test", "completed_updates": 30, "test_perplexity": null, )"
                      R"("test_elapsed": 90, "test_flops": 3e9, "test_train_tokens": 1500})"
                      "\n"
                      R"({"tag": "labels", "completed_updates": 30, "labels_accuracy": 50, )"
                      R"("labels_elapsed": 90})"));
  ASSERT_EQ(stage_marks(run).size(), 1U);
  EXPECT_EQ(stage_marks(run)[0].update, 9);
  EXPECT_EQ(stage_marks(run)[0].name, "sparse");
  EXPECT_THAT(validated_subsets(run), ElementsAre("test"));
  const auto points = validation_points(run, "test");
  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[0].perplexity, 50.5);
  EXPECT_EQ(points[0].seconds, 60);
  EXPECT_TRUE(std::isnan(points[1].perplexity));
  EXPECT_THAT(error_of([&] { validation_points(run, "valid"); }), HasSubstr("test"));
  EXPECT_THAT(error_of([&] { validation_points(run, "labels"); }), HasSubstr("no perplexity"));
}

TEST_F(RunHistoryTest, AFolderThatIsNoRunIsAnErrorThatSaysWhatItIs) {
  const auto missing = (folder_ / "missing").string();
  EXPECT_THAT(error_of([&] { read_run_history(missing); }), HasSubstr("no such run folder"));
  EXPECT_THAT(error_of([&] { read_run_history(folder_.path().string()); }),
              HasSubstr("no log.jsonl"));
}

}  // namespace
}  // namespace evomoe
