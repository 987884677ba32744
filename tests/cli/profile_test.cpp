// --profile: where the time of updates goes, as a table, a log line and a trace.
#include <map>
#include <set>

#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Profiling : public Commands {
 protected:
  /// The record of a run's only profile.
  nlohmann::ordered_json profile_of(const std::string& run) const {
    std::vector<nlohmann::ordered_json> found;
    for (const auto& line : read_run_log(folder_ / (run + "/log.jsonl"))) {
      if (line.at("tag") == "profile") found.push_back(line);
    }
    EXPECT_EQ(found.size(), 1U);
    return found.empty() ? nlohmann::ordered_json() : found.front();
  }

  static std::set<std::string> parts_of(const nlohmann::ordered_json& profile) {
    std::set<std::string> parts;
    for (const auto& part : profile.at("parts")) parts.insert(part.at("part").get<std::string>());
    return parts;
  }

  /// How often each scope is in the trace; the spans of the backward pass are "backward: name".
  std::map<std::string, int> scopes_of(const std::string& run) const {
    std::map<std::string, int> count;
    const auto trace = testing::read_json(folder_ / (run + "/profile.json"));
    for (const auto& event : trace.at("traceEvents")) {
      if (event.value("cat", "") != "user_annotation") continue;
      const bool backward = event.at("args").value("Backend", "") == "backward";
      ++count[(backward ? "backward: " : "") + event.at("name").get<std::string>()];
    }
    return count;
  }

  static std::string mixture() {
    return "--moe-freq 2 --moe-expert-count 4 --moe-top1-expert --criterion moe_cross_entropy "
           "--clip-norm 1 --dropout 0.1 ";
  }
};

TEST_F(Profiling, TheTraceHasTheScopesOfTheUpdatesAskedFor) {
  const auto result =
      evomoe(train_arguments() + mixture() + "--profile 5 --disable-validation --update-freq 2");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto count = scopes_of("run");
  for (const auto* scope : {"update", "data wait", "zero gradients", "gradient norm", "optimiser"})
    EXPECT_EQ(count.at(scope), 5) << scope;
  for (const auto* scope :
       {"forward", "embedding", "feed-forward", "router", "experts", "loss", "backward"})
    EXPECT_EQ(count.at(scope), 10) << scope;
  EXPECT_EQ(count.at("attention"), 20);
  // The layers of the backward pass, by the parts that made their nodes.
  for (const auto* scope :
       {"loss", "embedding", "layer.0", "layer.0 attention", "layer.0 feed-forward", "layer.1",
        "layer.1 attention", "layer.1 router", "layer.1 experts"})
    EXPECT_GE(count.at(std::string("backward: ") + scope), 10) << scope;
}

TEST_F(Profiling, ThePartsAddUpToTheUpdate) {
  const auto result = evomoe(train_arguments() + mixture() + "--profile 4");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("updates 4 to 7"));
  for (const auto* word : {"data wait", "router", "experts", "layer.1", "rest", "profile.json"})
    EXPECT_THAT(result.err, HasSubstr(word));
  const auto profile = profile_of("run");
  EXPECT_EQ(profile.at("completed_updates"), 7);
  double sum = 0;
  for (const auto& part : profile.at("parts")) {
    EXPECT_GE(part.at("ms").get<double>(), 0) << part;
    sum += part.at("ms").get<double>();
  }
  const auto whole = profile.at("ms").get<double>();
  EXPECT_GT(whole, 0);
  EXPECT_NEAR(sum, whole, 1e-6 * whole);
  const auto parts = parts_of(profile);
  for (const auto* part :
       {"forward/layer.0/feed-forward", "forward/layer.1/experts", "backward/loss",
        "backward/layer.0/feed-forward", "backward/layer.1/router", "backward/layer.1/experts",
        "backward/accumulate gradients"})
    EXPECT_TRUE(parts.contains(part)) << part;
}

TEST_F(Profiling, RecomputedLayersKeepTheirParts) {
  const auto result =
      evomoe(train_arguments() + mixture() + "--profile 2 --checkpoint-activations");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::map<std::string, double> nodes;
  const auto profile = profile_of("run");
  for (const auto& part : profile.at("parts")) nodes[part.at("part")] = part.at("nodes");
  EXPECT_GT(nodes.at("backward/layer.0/attention"), 0);
  EXPECT_GT(nodes.at("backward/layer.1/experts"), 0);
}

TEST_F(Profiling, ChangesNoResult) {
  const auto method = "--dropout 0.1 --attention-dropout 0.1 " + evolution();
  ASSERT_EQ(evomoe(train_arguments("plain") + method).exit_code, 0);
  ASSERT_EQ(evomoe(train_arguments("measured") + method + "--profile 12").exit_code, 0);
  EXPECT_EQ(model_file("measured"), model_file("plain"));
  EXPECT_EQ(optimizer_file("measured"), optimizer_file("plain"));
}

TEST_F(Profiling, AResumedRunMeasuresItsOwnUpdates) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 8").exit_code, 0);
  expect_refused(train_arguments() + "--profile 14",
                 {"--profile 14", "16 more updates", "at most 13"});
  const auto result = evomoe(train_arguments() + "--profile 5");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("updates 12 to 16"));
  EXPECT_EQ(profile_of("run").at("completed_updates"), 16);
  EXPECT_EQ(scopes_of("run").at("update"), 5);
}

TEST_F(Profiling, ARunThatEndsEarlierTellsOfTheUpdatesItMade) {
  const auto result = evomoe(train_arguments() + "--profile 21 --lr 0 --patience 1");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("updates 4 to 16"));
  EXPECT_EQ(scopes_of("run").at("update"), 13);
}

TEST_F(Profiling, WithoutSavingOnlyTheTableIsMade) {
  const auto result = evomoe(train_arguments() + "--profile 2 --no-save");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("data wait"));
  EXPECT_THAT(result.err, Not(HasSubstr("profile.json")));
  EXPECT_FALSE(fs::exists(folder_ / "run/profile.json"));
}

TEST_F(Profiling, WhatCannotBeMeasuredIsRefusedBeforeTraining) {
  expect_refused(train_arguments() + "--profile 0", {"--profile", "'0'", "at least 1"});
  expect_refused(train_arguments() + "--profile -3", {"--profile", "at least 1"});
  expect_refused(train_arguments() + "--profile 22",
                 {"--profile 22", "24 more updates", "at most 21"});
  expect_refused(train_arguments() + "--profile 1 --max-update 3", {"--max-update", "longer"});
  expect_refused(train_arguments() + "--profile 2000 --max-update 0 --max-epoch 1",
                 {"--profile 2000", "more updates"});
  fs::create_directories(folder_ / "run/profile.json");
  expect_refused(train_arguments() + "--profile 2", {"profile.json", "cannot be written"});
  EXPECT_FALSE(fs::exists(folder_ / "run/checkpoint_last"));
}

}  // namespace
}  // namespace evomoe
