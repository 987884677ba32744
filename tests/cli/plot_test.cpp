// evomoe plot on the logs of run folders.
#include <nlohmann/json.hpp>
#include <regex>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class PlotCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    make_run("dense", 1.0, "");
    make_run("evomoe", 2.0,
             R"(, "evolution": {"temperature": 0.5}, "active_experts": 2.0, )"
             R"("routers": [{"layer": 1, "max_vio": 0.5, "dead_experts": 0}])");
  }

  /// Four training lines, a second and 100 tokens an update, and a validation.
  void make_run(const std::string& name, double seconds, const std::string& more) {
    std::string log = R"({"tag": "stage", "completed_updates": 15, "stage": "sparse"})"
                      "\n";
    for (int update = 10; update <= 40; update += 10) {
      log += fmt::format(
          R"({{"tag": "train_inner", "completed_updates": {0}, "loss": {1}, "wpb": 100.0, )"
          R"("flops_per_token": 1e6, "ms_per_update": 30.0, "elapsed": {2}{3}}})",
          update, 100.0 / update, seconds * update, more);
      log += "\n";
    }
    log += R"({"tag": "valid", "completed_updates": 40, "valid_elapsed": 40.0, )"
           R"("valid_flops": 1e9, "valid_train_tokens": 4000.0, "valid_perplexity": 50.0})"
           "\n";
    fs::create_directories(folder_ / name);
    testing::write_text(folder_ / (name + "/log.jsonl"), log);
  }

  testing::CommandResult plot(const std::string& arguments) const {
    return testing::run_command(fmt::format("cd {} && {} plot {}", folder_.path().string(),
                                            testing::program().string(), arguments));
  }
  std::string picture(const std::string& arguments) const {
    const auto result = plot(arguments + " -o picture.svg");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return testing::read_text(folder_ / "picture.svg");
  }
  static long count(const std::string& text, const std::string& words) {
    long found = 0;
    for (size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1))
      ++found;
    return found;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(PlotCommand, DrawsAllThatTheRunsHaveWithALegendAndStages) {
  const auto svg = picture("dense evomoe");
  for (const auto* title : {"training loss", "perplexity of 'valid'", "temperature of the gate",
                            "experts per token", "max_vio", "milliseconds per update"})
    EXPECT_EQ(count(svg, title), 1) << title;
  EXPECT_THAT(svg, Not(HasSubstr("experts without a token"))) << "it is 0 throughout";
  EXPECT_EQ(count(svg, ">dense<"), 1);
  EXPECT_EQ(count(svg, ">evomoe<"), 1);
  EXPECT_EQ(count(svg, ">sparse<"), 6) << "once a panel, also where both runs have the stage";
  EXPECT_EQ(count(svg, ">updates<"), 6);
}

TEST_F(PlotCommand, TheAxisIsTheOneAskedFor) {
  for (const auto& [axis, title, last] :
       std::vector<std::array<const char*, 3>>{{"updates", "updates", ">40<"},
                                               {"tokens", "training tokens", ">4k<"},
                                               {"flops", "training compute (FLOP)", ">4G<"},
                                               {"seconds", "training time (seconds)", ">80<"}}) {
    const auto svg = picture(fmt::format("dense evomoe --curves loss --x-axis {}", axis));
    EXPECT_THAT(svg, AllOf(HasSubstr(fmt::format(">{}<", title)), HasSubstr(last))) << axis;
    EXPECT_EQ(count(svg, "<polyline"), 2) << axis;
    // The stage begins between the lines of updates 10 and 20.
    EXPECT_EQ(count(svg, ">sparse<"), 1) << axis;
  }
  EXPECT_EQ(count(picture("dense --curves loss,time --log-y --log-x"), "<polyline"), 2);
}

TEST_F(PlotCommand, ReadsAHalfWrittenLogUpToThereAndSaysSo) {
  const auto log = testing::read_text(folder_ / "dense/log.jsonl");
  testing::write_text(folder_ / "dense/log.jsonl", log + R"({"tag": "train_inner", "comp)");
  const auto result = plot("dense --curves loss -o picture.svg");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("dense/log.jsonl"), HasSubstr("not complete")));
  EXPECT_EQ(count(testing::read_text(folder_ / "picture.svg"), "<polyline"), 1);
  testing::write_text(folder_ / "dense/log.jsonl", "{\"tag\n" + log);
  const auto damaged = plot("dense -o other.svg");
  EXPECT_EQ(damaged.exit_code, 1);
  EXPECT_THAT(damaged.err, HasSubstr("log.jsonl:1"));
}

TEST_F(PlotCommand, WhatCannotBeDrawnIsRefusedWithTheReasonAndNothingIsWritten) {
  fs::create_directories(folder_ / "empty");
  fs::create_directories(folder_ / "begun");
  testing::write_text(folder_ / "begun/log.jsonl", "");
  const std::vector<std::tuple<std::string, int, std::vector<std::string>>> cases = {
      {"nothing -o p.svg", 1, {"nothing", "no such run folder"}},
      {"empty -o p.svg", 1, {"empty", "no log.jsonl"}},
      {"begun -o p.svg", 1, {"begun", "nothing to draw yet", "--log-interval"}},
      {"dense -o p.png", 2, {"p.png", ".svg"}},
      {"dense -o p", 2, {"--output p", ".svg"}},
      {"dense", 2, {"--output"}},
      {"dense -o missing/p.svg", 1, {"missing/p.svg"}},
      {"dense dense/ -o p.svg", 2, {"the same run folder"}},
      {"dense --curves temperature -o p.svg", 1, {"temperature", "--use-gumbel-softmax"}},
      {"dense --curves perplexity --valid-subset test -o p.svg",
       1,
       {"test", "valid", "--valid-subset"}},
      {"dense --curves los -o p.svg", 2, {"'los'", "'loss'"}},
      {"dense --x-axis hours -o p.svg", 2, {"hours", "seconds"}}};
  for (const auto& [arguments, code, words] : cases) {
    const auto result = plot(arguments);
    EXPECT_EQ(result.exit_code, code) << arguments << result.err;
    for (const auto& word : words) EXPECT_THAT(result.err, HasSubstr(word)) << arguments;
    EXPECT_FALSE(fs::exists(folder_ / "p.svg")) << arguments;
  }
}

}  // namespace
}  // namespace evomoe
