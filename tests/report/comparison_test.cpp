#include "evomoe/report/comparison.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "evomoe/base/error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ComparisonTest : public ::testing::Test {
 protected:
  /// A run folder with a validation every 10 updates, of 60 seconds each.
  void make_run(const std::string& name, const std::vector<double>& perplexities,
                const std::string& training = "") {
    fs::create_directories(folder_ / name);
    auto log = training;
    for (size_t i = 0; i < perplexities.size(); ++i) {
      log += fmt::format(
          R"({{"tag": "valid", "completed_updates": {}, "valid_elapsed": {}, "valid_flops": 2e9, )"
          R"("valid_train_tokens": 1000.0, "valid_perplexity": {}}})",
          10 * (i + 1), 60 * (i + 1), perplexities[i]);
      log += "\n";
    }
    testing::write_text(folder_ / (name + "/log.jsonl"), log);
    write_data(name, data_);
  }
  void write_data(const std::string& name, const nlohmann::json& data) {
    testing::write_text(folder_ / (name + "/data.json"), data.dump());
  }
  Comparison compare(const std::vector<std::string>& names, bool group = false,
                     const std::string& baseline = "") {
    std::vector<std::string> folders;
    for (const auto& name : names) folders.push_back((folder_ / name).string());
    return Comparison(read_run_histories(folders, "test"), "valid", group, baseline);
  }

  nlohmann::json data_ = {{"data", "bin"},
                          {"model",
                           {{"vocabulary", 100},
                            {"dictionary", "d"},
                            {"source_vocabulary", 200},
                            {"source_dictionary", "s"}}},
                          {"train", {{"items", 10}, {"tokens", 5000}}},
                          {"valid", {{"valid", {{"items", 3}, {"tokens", 900}, {"xxh64", "a"}}}}},
                          {"settings", {{"tokens-per-sample", 512}, {"max-valid-steps", nullptr}}}};
  testing::TemporaryFolder folder_;
};

/// Training lines of an evolution: one expert, all 8, then one.
std::string evolution_lines() {
  std::string log = R"({"tag": "stage", "completed_updates": 1, "stage": "shared-expert"})"
                    "\n"
                    R"({"tag": "stage", "completed_updates": 4, "stage": "dense-to-sparse"})"
                    "\n";
  for (int update = 1; update <= 20; ++update) {
    const bool dense = update >= 4 && update < 12;
    log += fmt::format(
        R"({{"tag": "train_inner", "completed_updates": {}, "wpb": 1000.0, "flops_per_token": {}, )"
        R"("active_experts": {}, "ms_per_update": {}}})",
        update, dense ? 8e6 : 2e6, dense ? 8.0 : 1.0, dense ? 300 : 120);
    log += "\n";
  }
  return log;
}

TEST_F(ComparisonTest, TheVerdictSaysWhichIsBestByHowMuchAndAtWhatCost) {
  make_run("dense", {60, 55});
  make_run("switch", {70, 60, 50});
  const auto verdict = compare({"dense", "switch"}).verdict();
  EXPECT_THAT(verdict, AllOf(HasSubstr("lower is better"), HasSubstr("Time to dense's"),
                             HasSubstr("switch is best: its perplexity is 50.00, after 3:00"),
                             HasSubstr("dense: 55.00, 10.0 % above it"),
                             HasSubstr("33.3 % less time (2:00 against 3:00)"),
                             HasSubstr("different numbers of updates"), HasSubstr("One run each")));
}

TEST_F(ComparisonTest, TheVerdictSaysWhatTheEvolutionDidAndAPictureShowsIt) {
  make_run("evomoe", {50, 40}, evolution_lines());
  make_run("dense", {50, 45});
  const auto comparison = compare({"dense", "evomoe"});
  auto verdict = comparison.verdict();
  std::istringstream lines(verdict);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  std::replace(verdict.begin(), verdict.end(), '\n', ' ');
  EXPECT_THAT(verdict, HasSubstr("experts per token fell from 8.00 (update 4) to 1.00 (update 20), "
                                 "compute per update from 8 to 2 GFLOP (75.0 % less), time per "
                                 "update from 300 to 120 ms (60.0 % less)"));
  for (const bool utf8 : {false, true}) {
    EXPECT_THAT(comparison.pictures(utf8),
                AllOf(HasSubstr("evomoe: experts per token"), HasSubstr("^dense-to-sparse"),
                      HasSubstr("evomoe: milliseconds per update"), HasSubstr("    300 ")));
  }
  EXPECT_EQ(compare({"dense"}).pictures(true), "");
  EXPECT_THAT(compare({"dense"}).verdict(), Not(HasSubstr("evolution")));
}

TEST_F(ComparisonTest, RunsThatDivergedAreNotRanked) {
  make_run("good", {50});
  make_run("bad", {50});
  testing::write_text(folder_ / "bad/log.jsonl",
                      R"({"tag": "valid", "completed_updates": 10, "valid_elapsed": 1, )"
                      R"("valid_flops": 0, "valid_train_tokens": 0, "valid_perplexity": null})");
  EXPECT_THAT(compare({"bad", "good"}).verdict(),
              AllOf(HasSubstr("good is best"), HasSubstr("bad has diverged")));
  EXPECT_THAT(compare({"bad"}).verdict(), HasSubstr("Every run has diverged"));
}

TEST_F(ComparisonTest, SeedsOfARunAreOneRowWithMeanAndSpread) {
  make_run("dense-1", {60, 50});
  make_run("dense-2", {60, 52});
  make_run("dense-30", {60, 54});
  make_run("switch-1", {51.5, 40});
  make_run("switch-2", {60, 54});
  make_run("top-k", {60, 70});
  const auto comparison =
      compare({"dense-1", "dense-2", "dense-30", "switch-1", "switch-2", "top-k"}, true, "dense");
  const auto& rows = comparison.rows();
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].runs.size(), 3U);
  EXPECT_DOUBLE_EQ(rows[0].perplexity().mean, 52);
  EXPECT_DOUBLE_EQ(rows[0].perplexity().deviation.value(), 2);
  EXPECT_FALSE(rows[2].perplexity().deviation) << "of one run nothing is known";
  const auto text = comparison.table(true).text();
  EXPECT_THAT(text,
              AllOf(HasSubstr("dense (3 runs)"), HasSubstr("52.00 ± 2.00"),
                    HasSubstr("1:00 (1 of 2)"), HasSubstr("top-k "), HasSubstr("not reached")));
  EXPECT_THAT(comparison.table(false).text(), HasSubstr("52.00 +- 2.00"));
  const auto json = comparison.json();
  EXPECT_EQ(json[0].at("runs"), 3);
  EXPECT_DOUBLE_EQ(json[0].at("perplexity_deviation"), 2);
  EXPECT_EQ(json[1].at("runs_at_baseline"), 1);
  EXPECT_FALSE(json[2].contains("perplexity_deviation"));
  EXPECT_THAT(comparison.verdict(),
              AllOf(HasSubstr("switch has the lowest mean perplexity"),
                    HasSubstr("no larger than the spread"), Not(HasSubstr("One run each"))));
  EXPECT_EQ(compare({"dense-1", "dense-2"}).rows().size(), 2U) << "only where it is asked for";
  EXPECT_THROW(compare({"dense-1", "dense-2"}, false, "dense"), UsageError);
  EXPECT_EQ(compare({"dense-1", "switch-2"}, true, "switch-2").baseline().name, "switch");
}

TEST_F(ComparisonTest, EachKindOfOtherDataIsToldOfAndThenNothingIsRanked) {
  make_run("a", {50});
  make_run("b", {40});
  EXPECT_THAT(compare({"a", "b"}).differences(), IsEmpty());
  EXPECT_THAT(compare({"a", "b"}).notes(), IsEmpty());
  using Pointer = nlohmann::json::json_pointer;
  const std::vector<std::tuple<const char*, nlohmann::json, const char*>> changes = {
      {"/model/vocabulary", 101, "vocabularies of 101 against 100 symbols"},
      {"/model/dictionary", "e", "other symbols in the dictionary"},
      {"/model/source_vocabulary", 7, "source vocabularies of 7 against 200"},
      {"/model/source_dictionary", "e", "other symbols in the source dictionary"},
      {"/valid/valid/tokens", 901, "'valid' of 901 against 900 tokens"},
      {"/valid/valid/xxh64", "b", "other text in the validation data 'valid'"},
      {"/settings/tokens-per-sample", 256, "--tokens-per-sample 256 against 512"},
      {"/settings/max-valid-steps", 20, "--max-valid-steps 20 against not given"}};
  for (const auto& [where, value, words] : changes) {
    auto other = data_;
    other[Pointer(where)] = value;
    write_data("b", other);
    const auto comparison = compare({"a", "b"});
    ASSERT_EQ(comparison.differences().size(), 1U) << where;
    EXPECT_THAT(comparison.differences()[0], AllOf(HasSubstr("b and a"), HasSubstr(words)));
    EXPECT_THAT(comparison.verdict(), AllOf(HasSubstr("not comparable"), Not(HasSubstr("is best"))))
        << where;
  }
}

TEST_F(ComparisonTest, OneDictionaryForBothSidesIsToldOfOnce) {
  make_run("a", {50});
  make_run("b", {40});
  for (const auto* run : {"a", "b"}) {
    auto one = data_;
    for (const auto* key : {"dictionary", "source_dictionary"}) one["model"][key] = run;
    write_data(run, one);
  }
  ASSERT_EQ(compare({"a", "b"}).differences().size(), 1U);
  EXPECT_EQ(compare({"a", "b"}).differences()[0], "b and a have other symbols in the dictionary");
}

TEST_F(ComparisonTest, TheSameDataUnderAnotherNameAreTheSameAndOtherTrainingDataANote) {
  make_run("a", {50});
  make_run("b", {40});
  auto other = data_;
  other["data"] = "copy-of-bin";
  write_data("b", other);
  EXPECT_THAT(compare({"a", "b"}).differences(), IsEmpty());
  EXPECT_THAT(compare({"a", "b"}).notes(), IsEmpty());
  other["train"]["tokens"] = 6000;
  write_data("b", other);
  EXPECT_THAT(compare({"a", "b"}).differences(), IsEmpty());
  EXPECT_THAT(compare({"a", "b"}).verdict(),
              AllOf(HasSubstr("b is best"), HasSubstr("6000 tokens of copy-of-bin")));
}

TEST_F(ComparisonTest, WhatIsNotKnownOfOlderRunsIsSaid) {
  make_run("a", {50});
  make_run("b", {40});
  fs::remove(folder_ / "b/data.json");
  EXPECT_THAT(compare({"a", "b"}).differences(), IsEmpty());
  EXPECT_THAT(compare({"a", "b"}).verdict(), HasSubstr("not known"));
  testing::write_text(folder_ / "b/data.json", "{\"model\": ");
  EXPECT_THAT(compare({"a", "b"}).verdict(), HasSubstr("not known"));
  testing::write_text(folder_ / "b/data.json", R"({"model": 3, "settings": [], "valid": {}})");
  EXPECT_THAT(compare({"a", "b"}).differences(), IsEmpty());
  EXPECT_THAT(compare({"b"}).verdict(), Not(HasSubstr("not known"))) << "one run alone";
}

}  // namespace
}  // namespace evomoe
