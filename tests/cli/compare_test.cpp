// evomoe compare on the logs of run folders.
#include <nlohmann/json.hpp>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Compare : public ::testing::Test {
 protected:
  /// A run folder with a validation every 10 updates.
  void make_run(const std::string& name, const std::vector<std::string>& perplexities,
                const std::string& tag = "valid") {
    std::filesystem::create_directories(folder_ / name);
    std::string log;
    for (size_t i = 0; i < perplexities.size(); ++i) {
      log += fmt::format(
          R"({{"tag": "{0}", "completed_updates": {1}, "{0}_elapsed": {2}, "{0}_flops": 2e9, )"
          R"("{0}_train_tokens": 1000.0, "{0}_perplexity": {3}}})",
          tag, 10 * (i + 1), 60 * (i + 1), perplexities[i]);
      log += "\n";
    }
    testing::write_text(folder_ / (name + "/log.jsonl"), log);
  }

  /// Runs `evomoe compare` in the folder of the runs.
  testing::CommandResult compare(const std::string& arguments) const {
    return testing::run_command(fmt::format("cd {} && {} compare {}", folder_.path().string(),
                                            testing::program().string(), arguments));
  }
  nlohmann::json compare_json(const std::string& arguments) const {
    const auto result = compare(arguments + " --format json");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  }
  void expect_refused(const std::string& arguments, const std::vector<std::string>& words,
                      int code = 2) const {
    const auto result = compare(arguments);
    EXPECT_EQ(result.exit_code, code) << arguments;
    for (const auto& word : words) EXPECT_THAT(result.err, HasSubstr(word)) << arguments;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Compare, TheBaselineIsAPathInAnySpellingOrAName) {
  make_run("runs/evomoe", {"90", "40"});
  make_run("runs/switch", {"80", "50"});
  for (const auto* baseline :
       {"runs/switch", "./runs/switch/", "runs/evomoe/../switch", "switch"}) {
    const auto table =
        compare_json(fmt::format("runs/evomoe runs/switch/ --baseline {}", baseline));
    EXPECT_EQ(table[0].at("run"), "evomoe");
    EXPECT_EQ(table[0].at("seconds_to_baseline"), 120);
    EXPECT_EQ(table[1].at("seconds_to_baseline"), 120);
  }
  EXPECT_EQ(compare_json("runs/evomoe runs/switch")[1].at("seconds_to_baseline"), nullptr)
      << "the first is the default";
  expect_refused("runs/evomoe runs/switch --baseline dense", {"dense", "evomoe, switch"});
}

TEST_F(Compare, RunsOfTheSameNameAreToldApartByTheirPaths) {
  make_run("a/switch", {"50"});
  make_run("b/switch", {"40"});
  make_run("dense", {"45"});
  const auto table = compare_json("a/switch b/switch dense --baseline b/switch");
  EXPECT_EQ(table[0].at("run"), "a/switch");
  EXPECT_EQ(table[1].at("run"), "b/switch");
  EXPECT_EQ(table[2].at("run"), "dense");
  EXPECT_EQ(table[0].at("seconds_to_baseline"), nullptr) << "a/switch never comes to 40";
  expect_refused("a/switch b/switch --baseline switch", {"several", "a/switch, b/switch"});
  expect_refused("a/switch a/../a/switch/", {"the same run folder"});
}

TEST_F(Compare, ARunThatDivergedIsShownAsSuch) {
  make_run("good", {"50"});
  make_run("bad", {"70", "null"});
  const auto result = compare("good bad");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("diverged"), HasSubstr("not reached")));
  const auto table = compare_json("good bad --baseline bad");
  EXPECT_EQ(table[1].at("perplexity"), nullptr);
  EXPECT_EQ(table[0].at("seconds_to_baseline"), nullptr);
}

TEST_F(Compare, ARunValidatedAsItsStageRoutesIsComparedByThatTag) {
  make_run("run", {"50", "40"}, "valid_stage");
  expect_refused("run", {"no validation of 'valid' yet", "valid_stage", "--valid-subset"}, 1);
  const auto table = compare_json("run --valid-subset valid_stage");
  EXPECT_EQ(table[0].at("perplexity"), 40);
}

TEST_F(Compare, TextTellsWhatTheTableMeansAndTheOtherFormsAreTheTableAlone) {
  make_run("dense", {"50"});
  make_run("switch", {"40"});
  EXPECT_THAT(compare("dense switch").out,
              AllOf(HasSubstr("lower is better"), HasSubstr("switch is best")));
  EXPECT_THAT(compare("dense switch --format markdown").out, Not(HasSubstr("best")));
  for (const auto* run : {"dense", "switch"}) {
    testing::write_text(folder_ / (std::string(run) + "/data.json"),
                        fmt::format(R"({{"valid": {{"valid": {{"xxh64": "{}"}}}}}})", run));
  }
  for (const auto* format : {"markdown", "json"}) {
    const auto result = compare(std::string("dense switch --format ") + format);
    EXPECT_THAT(result.err, HasSubstr("not comparable")) << format;
    EXPECT_THAT(result.out, Not(HasSubstr("not comparable"))) << format;
  }
  EXPECT_THAT(compare("dense switch").out, HasSubstr("not comparable"));
}

TEST_F(Compare, SeedsAreOneRowWhereItIsAskedFor) {
  make_run("dense-1", {"50"});
  make_run("dense-2", {"52"});
  make_run("switch-1", {"40"});
  const auto table = compare_json("dense-1 dense-2 switch-1 --group --baseline switch");
  ASSERT_EQ(table.size(), 2U);
  EXPECT_EQ(table[0].at("run"), "dense");
  EXPECT_EQ(table[0].at("perplexity"), 51);
  EXPECT_EQ(table[0].at("seconds_to_baseline"), nullptr);
  EXPECT_EQ(compare_json("dense-1 dense-2 switch-1").size(), 3U);
}

TEST_F(Compare, AHalfWrittenLogIsReadUpToThereAndThatIsSaid) {
  make_run("run", {"50", "40"});
  const auto log = testing::read_text(folder_ / "run/log.jsonl");
  testing::write_text(folder_ / "run/log.jsonl", log.substr(0, log.size() - 20));
  const auto result = compare("run --format json");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("run/log.jsonl"), HasSubstr("not complete")));
  EXPECT_EQ(nlohmann::json::parse(result.out)[0].at("perplexity"), 50);
}

TEST_F(Compare, NamesTheLogThatLacksSomething) {
  make_run("run", {"50"});
  std::filesystem::create_directories(folder_ / "empty");
  expect_refused("run empty", {"empty", "log.jsonl"}, 1);
  expect_refused("run --valid-subset test", {"test"}, 1);
  testing::write_text(folder_ / "empty/log.jsonl",
                      "{\"tag\": \"valid\", \"completed_updates\": 3}\n");
  expect_refused("run empty", {"empty/log.jsonl", "valid_perplexity"}, 1);
  EXPECT_THAT(compare("run empty").err, Not(HasSubstr("json.exception")));
}

}  // namespace
}  // namespace evomoe
