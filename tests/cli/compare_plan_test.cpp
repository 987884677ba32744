#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ComparePlans : public Commands {
 protected:
  /// A plan of two methods; `more` are further keys.
  std::string plan(const std::string& more, const std::string& dense = "{}",
                   const std::string& base_more = "") {
    const auto path = (folder_ / "plan.yaml").string();
    testing::write_text(
        path, fmt::format("folder: {0}/runs\n"
                          "data: {0}/bin\n"
                          "base:\n"
                          "  decoder-layers: 1\n"
                          "  decoder-embed-dim: 8\n"
                          "  decoder-ffn-embed-dim: 16\n"
                          "  decoder-attention-heads: 2\n"
                          "  tokens-per-sample: 16\n"
                          "  batch-size: 4\n"
                          "  lr: 0.01\n"
                          "  threads: 1\n"
                          "  device: cpu\n"
                          "{3}"
                          "methods:\n"
                          "  dense: {2}\n"
                          "  switch: {{moe-freq: 1, moe-expert-count: 2, moe-top1-expert: true, "
                          "criterion: moe_cross_entropy}}\n"
                          "baseline: switch\n"
                          "{1}",
                          folder_.path().string(), more, dense, base_more));
    return path;
  }
  fs::path run(const std::string& name) const { return folder_ / "runs" / name; }
};

TEST_F(ComparePlans, LayOptionsOverEachOther) {
  // A recipe of one run has a seed and a length, which the plan says here.
  testing::write_text(folder_ / "recipe.yaml",
                      "common: {seed: 5}\noptimization: {clip_norm: 2, max_update: 7}\n");
  const auto file =
      plan("updates: 4\n", "[{clip-norm: 1, dropout: 0.2}, recipe.yaml, {clip_norm: 3}]");
  ASSERT_EQ(evomoe("compare " + file).exit_code, 0);
  const auto config = testing::read_text(run("dense.4-1") / "config.yaml");
  for (const auto* line : {"clip_norm: 3", "dropout: 0.2", "seed: 1", "max_update: 4"})
    EXPECT_THAT(config, HasSubstr(line));
  testing::write_text(folder_ / "recipe.yaml", "[1, 2]\n");
  const auto refused = evomoe("compare " + file);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("method 'dense': "));
  EXPECT_THAT(refused.err, HasSubstr("holds no options"));
}

TEST_F(ComparePlans, MakeTheirRunsAndGoOnWhereTheyStopped) {
  const auto file = plan("seeds: [1, 2]\nupdates: [4, 8]\n");
  auto result = evomoe("compare " + file + " --jobs 2 --format json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  ASSERT_EQ(json.at("runs").size(), 8U);
  for (const auto& entry : json.at("runs")) {
    EXPECT_TRUE(entry.at("failure").is_null());
    EXPECT_GT(entry.at("perplexity").get<double>(), 1);
    EXPECT_GT(entry.at("flops").get<double>(), 0);
    EXPECT_TRUE(fs::exists(run(entry.at("run").get<std::string>()) / "checkpoint_last"));
  }
  EXPECT_EQ(json.at("runs")[0].at("run"), "dense.4-1");
  const auto& switch_cost = json.at("to_reach_target").at("switch");
  EXPECT_LE(switch_cost.at("updates").get<double>(), 8);
  ASSERT_EQ(json.at("differences").size(), 2U);
  EXPECT_EQ(json.at("differences")[1].at("log_perplexity").size(), 2U);

  // A seed is added: the other runs stay as they are.
  const auto before = fs::last_write_time(run("dense.4-1") / "log.jsonl");
  result = evomoe("compare " + plan("seeds: [1, 2, 3]\nupdates: [4, 8]\n"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(fs::last_write_time(run("dense.4-1") / "log.jsonl"), before);
  EXPECT_TRUE(fs::exists(run("switch.8-3") / "checkpoint_last"));
  EXPECT_THAT(result.out, HasSubstr("3 of 3"));
  EXPECT_THAT(result.out, HasSubstr("To reach switch's perplexity after 8 updates"));
  EXPECT_THAT(result.out, HasSubstr("dense after 8 updates: perplexity"));
  EXPECT_THAT(result.out, HasSubstr("where chance alone stays within 4.30 in 95 of 100 cases"));
  const auto csv = evomoe("compare " + file + " --format csv").out;
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 13);

  expect_refused("compare " + plan("seeds: [1]\nupdates: [4]\n", "{dropout: 0.5}"),
                 {"were begun with other options of 'dense'"}, 1);
}

TEST_F(ComparePlans, ABudgetOfTokensOrOperationsEndsEachRunWhenItIsSpent) {
  const auto result_of = [&](const std::string& lengths) {
    const auto result =
        evomoe("compare " + plan(lengths, "{}", "  lr-scheduler: cosine\n") + " --format json");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  };
  for (const auto& [unit, length] : {std::pair("tokens", 500.0), std::pair("flops", 2e7)}) {
    const auto json = result_of(fmt::format("{}: [{}]\n", unit, length));
    EXPECT_EQ(json.at("unit"), unit);
    ASSERT_EQ(json.at("runs").size(), 2U);
    for (const auto& entry : json.at("runs")) {
      const auto spent = entry.at(unit).get<double>(), updates = entry.at("updates").get<double>();
      EXPECT_GE(spent, length);
      EXPECT_LT(spent * (updates - 1) / updates, length);  // the last update was needed
      EXPECT_GT(entry.at("seconds").get<double>(), 0);
    }
  }
  EXPECT_TRUE(fs::exists(run("switch.500tokens-1")));
  EXPECT_TRUE(fs::exists(run("switch.2e7flops-1")));
  // A dense update costs less.
  const auto json = result_of("flops: 2e7\n");
  EXPECT_GT(json.at("runs")[0].at("updates"), json.at("runs")[1].at("updates"));
}

TEST_F(ComparePlans, OtherDataThanThatOfEarlierRunsIsRefused) {
  const auto file = plan("updates: [4]\n");
  ASSERT_EQ(evomoe("compare " + file).exit_code, 0);
  // Data of a run that somebody made in the folder.
  const auto record = run("dense.4-1") / "data.json";
  const auto before = testing::read_text(record);
  auto other = before;
  other.replace(other.find("\"tokens\":") + 9, 1, "1");
  testing::write_text(record, other);
  expect_refused("compare " + file, {"switch.4-1 and dense.4-1 have different data"}, 1);
  testing::write_text(record, before);
  // The data folder itself.
  testing::write_text(folder_ / "bin/dict.txt",
                      testing::read_text(folder_ / "bin/dict.txt") + "x 1\n");
  expect_refused("compare " + file, {"were begun with other data"}, 1);
}

TEST_F(ComparePlans, ASearchTriesEachSettingAndTheChosenOneIsRunWithAllSeeds) {
  const std::string more =
      "seeds: [1, 2]\nupdates: [8]\n"
      "search:\n  switch: {lr: [0.000001, 0.01], moe-gate-loss-wt: [0.01, 0.1]}\n"
      "  dense: {lr: [0.01, 0.000001, 0.000002]}\n";
  const auto file = plan(more);
  auto result = evomoe("compare " + file + " --search --jobs 2 --format json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  const auto& of_switch = json.at("search").at("switch");
  EXPECT_EQ(of_switch.at("settings"), 4);
  EXPECT_EQ(of_switch.at("trials").size(), 6U);  // four of 4 updates, two of 8
  EXPECT_EQ(of_switch.at("cost").at("updates"), 32);
  EXPECT_THAT(of_switch.at("chosen").get<std::string>(), HasSubstr("lr 0.01"));
  EXPECT_EQ(json.at("search").at("dense").at("chosen"), "lr 0.01");
  EXPECT_EQ(json.at("search").at("dense").at("trials").size(), 5U);
  // The better half was run longer.
  double worst_kept = 0, best_dropped = 1e9;
  std::set<std::string> kept;
  for (const auto& trial : of_switch.at("trials")) {
    if (trial.at("length") == 8) kept.insert(trial.at("setting"));
  }
  EXPECT_EQ(kept.size(), 2U);
  for (const auto& trial : of_switch.at("trials")) {
    if (trial.at("length") != 4) continue;
    const auto value = trial.at("perplexity").get<double>();
    if (kept.contains(trial.at("setting"))) {
      worst_kept = std::max(worst_kept, value);
    } else {
      best_dropped = std::min(best_dropped, value);
    }
  }
  EXPECT_LE(worst_kept, best_dropped);
  EXPECT_TRUE(fs::exists(run("switch.s1.4-0") / "checkpoint_last"));
  EXPECT_THAT(testing::read_text(run("dense.8-2") / "config.yaml"), HasSubstr("lr: [0.01]"));
  ASSERT_EQ(json.at("runs").size(), 4U);

  // The same again makes nothing.
  const auto before = fs::last_write_time(run("switch.s1.4-0") / "log.jsonl");
  result = evomoe("compare " + file + " --search");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err.find("begins"), std::string::npos) << result.err;
  EXPECT_EQ(fs::last_write_time(run("switch.s1.4-0") / "log.jsonl"), before);
  EXPECT_THAT(result.out, HasSubstr("3 for dense; 4 for switch"));

  expect_refused("compare " + file, {"add --search"});
  // Complete runs of other settings, or of none, are no runs of this plan.
  for (const auto& [search, words] :
       {std::pair{"search:\n  switch: {lr: [0.004, 0.01], moe-gate-loss-wt: [0.01, 0.1]}\n",
                  "with other options of 'switch.s1'"},
        {"", "was begun with a setting of 'search'"}}) {
    result = evomoe("compare " + plan(std::string("seeds: [1, 2]\nupdates: [8]\n") + search) +
                    (*search == 0 ? "" : " --search"));
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr(words));
  }
}

TEST_F(ComparePlans, ASearchOfOneSettingHasNothingToTry) {
  const auto result =
      evomoe("compare " + plan("updates: [4]\nsearch:\n  switch: {lr: [0.02]}\n") + " --search");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(testing::read_text(run("switch.4-1") / "config.yaml"), HasSubstr("lr: [0.02]"));
}

TEST_F(ComparePlans, ASearchThatCannotBeMeantIsRefused) {
  const auto refused = [&](const std::string& search, const std::vector<std::string>& words,
                           const std::string& more = "updates: [8]\n") {
    expect_refused("compare --search " + plan(more + "search: " + search + "\n"), words);
  };
  refused("{swich: {lr: [0.1]}}", {"'swich'", "none of the methods"});
  refused("{switch: {lr: 0.1}}", {"'switch'", "'lr' needs a list"});
  refused("{switch: {lr: []}}", {"'lr' needs a list"});
  refused("{switch: {lr: [0.1, 0.1]}}", {"'lr 0.1' comes twice"});
  refused("{switch: {lr: [0.1, -1]}}", {"'switch'", "lr: '-1' is not allowed"});
  refused("{switch: {batch-size: [2, 4]}}", {"--batch-size", "'base'"});
  refused("{switch: {seed: [2, 4]}}", {"--seed"});
  refused("[1]", {"'search' is a map"});
  refused("{switch: {lr: [0.1, 0.2]}}", {"the seed 0"}, "updates: [8]\nseeds: [0, 1]\n");
  refused("{switch: {lr: [0.1, 0.2, 0.3]}}", {"2 rounds", "less than one"}, "updates: [1]\n");
  expect_refused("compare --search " + plan("updates: [8]\n"), {"has no 'search'"});
  expect_refused("compare --search a b", {"--search is for plans"});
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(ComparePlans, ARunThatFailsIsShownAndDoesNotStopTheOthers) {
  const auto file =
      plan("updates: [4]\n", "{init-from: " + (folder_ / "absent.safetensors").string() + "}");
  const auto result = evomoe("compare " + file);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("dense.4-1 has failed: exit code"));
  EXPECT_THAT(result.out, HasSubstr("absent.safetensors"));
  EXPECT_TRUE(fs::exists(run("switch.4-1") / "checkpoint_last"));
}

TEST_F(ComparePlans, WhatCannotBeComparedIsRefusedBeforeAnythingRuns) {
  const auto refused = [&](const std::string& file, const std::vector<std::string>& words) {
    expect_refused("compare " + file, words);
  };
  refused(plan("updates: [4]\n", "{batch-size: 8}"),
          {"--batch-size", "'dense'", "'switch'", "'base'"});
  refused(plan("updates: [4]\n", "{seed: 3}"), {"'dense'", "--seed"});
  refused(plan("updates: [4]\n", "{}", "  max-update: 7\n"), {"--max-update"});
  refused(plan("updates: [4]\n", "{moe-routr: switch}"), {"'dense'", "moe-routr"});
  refused(plan(""), {"none of the keys updates, tokens, flops, seconds"});
  refused(plan("updates: [4]\ntokens: [4]\n"), {"several of the keys"});
  refused(plan("tokens: [1.5]\n"), {"'tokens' has 1.5", "whole numbers"});
  refused(plan("updates: [4]\n", "{}", "  patience: 3\n"), {"--patience"});
  refused(plan("updates: [4]\n", "{}", "  lr-scheduler: cosine\n  warmup-updates: 8\n"),
          {"'dense'", "--warmup-updates 8", "--max-update 4"});
  refused(plan("flops: [4]\n", "{}", "  total-num-update: 8\n"), {"--total-num-update"});
  refused(plan("updates: [4]\n", "{skip-invalid-size-inputs-valid-test: true}"),
          {"--skip-invalid-size-inputs-valid-test", "'base'"});
  refused(plan("seconds: [4]\n") + " --jobs 2", {"--jobs 2", "seconds"});
  refused(plan("updates: [4, 4]\n"), {"'updates'", "once"});
  refused(plan("updates: [0]\n"), {"'updates' has 0", "from 1"});
  refused(plan("updates: [four]\n"), {"'updates'", "another type"});
  refused(plan("updates: [4]\nseed: [4]\n"), {"'seed' means nothing"});
  refused(plan("updates: [4]\n", "no.yaml"), {"method 'dense'", "no.yaml"});
  refused((folder_ / "none.yaml").string(), {"none.yaml", "cannot be read as a plan"});
  refused(plan("updates: [4]\n") + " --group", {"--group"});
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

}  // namespace
}  // namespace evomoe
