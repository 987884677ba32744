#include <nlohmann/json.hpp>
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
  refused(plan(""), {"'updates' is missing"});
  refused(plan("updates: [4, 4]\n"), {"'updates'", "once"});
  refused(plan("updates: [0]\n"), {"'updates' must be above 0"});
  refused(plan("updates: [four]\n"), {"'updates'", "another type"});
  refused(plan("updates: [4]\nseed: [4]\n"), {"'seed' means nothing"});
  refused(plan("updates: [4]\n", "no.yaml"), {"method 'dense'", "no.yaml"});
  refused((folder_ / "none.yaml").string(), {"none.yaml", "cannot be read as a plan"});
  refused(plan("updates: [4]\n") + " --group", {"--group"});
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

}  // namespace
}  // namespace evomoe
