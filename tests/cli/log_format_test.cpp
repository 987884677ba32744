// What a run says on stdout in each form, and what its log.jsonl holds.
#include <nlohmann/json.hpp>
#include <sstream>

#include "evomoe/report/log_line.h"
#include "evomoe/report/run_log.h"
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class LogFormat : public Commands {
 protected:
  static std::string switch_router() {
    return "--moe-freq 2 --moe-expert-count 4 --moe-router switch --criterion moe_cross_entropy "
           "--moe-eval-capacity-token-fraction -1 ";
  }
  static std::vector<std::string> lines_of(const std::string& text, const std::string& tag) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
      if (line.find(" | " + tag + " | ") != std::string::npos) lines.push_back(line);
    }
    return lines;
  }
};

// The reference's keys of a mixture, in its order.
const std::vector<std::string> kReferenceKeys = {"loss",
                                                 "moe_gate_loss",
                                                 "gumbel_avg_experts",
                                                 "overflow_expert1",
                                                 "overflow_expert2",
                                                 "entropy_gating",
                                                 "expert1_balance_top",
                                                 "expert1_balance_bottom",
                                                 "unused_expert1_count",
                                                 "expert2_balance_top",
                                                 "expert2_balance_bottom",
                                                 "unused_expert2_count",
                                                 "all_to_all_cpu_time_ms",
                                                 "all_to_all_cuda_time_ms",
                                                 "inner_loss",
                                                 "ppl",
                                                 "wps",
                                                 "ups",
                                                 "wpb",
                                                 "bsz",
                                                 "num_updates",
                                                 "lr",
                                                 "gnorm",
                                                 "train_wall",
                                                 "wall"};

TEST_F(LogFormat, JsonHasTheReferencesKeysAsStringsAndTheLogTheSameAsNumbers) {
  for (const auto& method : {evolution(), switch_router()}) {
    const auto result = evomoe(train_arguments() + method + "--log-format json");
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto printed = lines_of(result.out, "train_inner");
    ASSERT_EQ(printed.size(), 6U);
    std::vector<nlohmann::ordered_json> logged;
    for (const auto& line : read_run_log(folder_ / "run/log.jsonl")) {
      if (line.at("tag") == "train_inner") logged.push_back(line);
    }
    ASSERT_EQ(logged.size(), printed.size());
    for (size_t i = 0; i < printed.size(); ++i) {
      const auto line = nlohmann::ordered_json::parse(printed[i].substr(printed[i].find('{')));
      std::vector<std::string> keys;
      for (const auto& [key, value] : line.items()) {
        if (value.is_string()) {
          keys.push_back(key);
          EXPECT_EQ(value, format_g(logged[i].at(key).get<double>())) << key;
        } else if (key != "epoch" && key != "update") {
          EXPECT_EQ(value, logged[i].at(key)) << key;
        }
      }
      EXPECT_EQ(keys, kReferenceKeys);
    }
    std::filesystem::remove_all(folder_ / "run");
  }
}

TEST_F(LogFormat, TheTextFormsShowNoZerosOfTheGateButTheHealthOfTheRouter) {
  for (const auto* format : {"simple", "tqdm"}) {
    for (const auto& method : {evolution(), switch_router()}) {
      const auto result = evomoe(train_arguments() + method + "--log-format " + format);
      ASSERT_EQ(result.exit_code, 0) << result.err;
      for (const auto* never : {"overflow_expert2", "expert2_balance", "all_to_all", "constant"})
        EXPECT_THAT(result.out, Not(HasSubstr(never))) << format;
      const auto lines = lines_of(result.out, "train_inner");
      ASSERT_EQ(lines.size(), 6U);
      for (size_t i = 0; i < lines.size(); ++i) {
        const bool shared = method == evolution() && i < 2;
        EXPECT_EQ(lines[i].find("max_vio") == std::string::npos, shared) << lines[i];
        EXPECT_EQ(lines[i].find("dead_experts") == std::string::npos, shared) << lines[i];
        EXPECT_EQ(lines[i].find("moe_gate_loss") == std::string::npos, shared) << lines[i];
      }
      std::filesystem::remove_all(folder_ / "run");
    }
  }
  ASSERT_EQ(evomoe(train_arguments() + switch_router()).exit_code, 0);
  const auto validated = evomoe(fmt::format("validate {}/bin --path {}/run/checkpoint_last",
                                            folder_.path().string(), folder_.path().string()));
  EXPECT_THAT(validated.out, AllOf(HasSubstr("moe_gate_loss"), Not(HasSubstr("all_to_all"))));
}

TEST_F(LogFormat, NoneSaysNothingOnStdout) {
  const auto result = evomoe(train_arguments() + evolution());
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
}

TEST_F(LogFormat, ARunWithoutAnEvolutionHasNoStage) {
  for (const auto& method : {std::string(), switch_router()}) {
    const auto result = evomoe(train_arguments() + method);
    ASSERT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.err, AllOf(Not(HasSubstr("stage")), Not(HasSubstr("constant"))));
    EXPECT_THAT(testing::read_text(folder_ / "run/log.jsonl"),
                AllOf(Not(HasSubstr("stage")), Not(HasSubstr("constant"))));
    const auto info = evomoe("info " + (folder_ / "run/checkpoint_last").string());
    EXPECT_EQ(info.exit_code, 0) << info.err;
    EXPECT_THAT(info.out, AllOf(Not(HasSubstr("stage")), Not(HasSubstr("constant"))));
    std::filesystem::remove_all(folder_ / "run");
  }
}

TEST_F(LogFormat, ACollapsedRouterIsToldOfOnceWithItsLayerAndWhatHelps) {
  // Of one word again and again, without positions, all tokens are the same to the router.
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word ";
  testing::write_text(folder_ / "word.txt", text + "\n");
  const auto path = folder_.path().string();
  const auto prepared = evomoe(
      fmt::format("preprocess --only-source --trainpref {0}/word.txt --destdir {0}/word", path));
  ASSERT_EQ(prepared.exit_code, 0) << prepared.err;
  auto arguments = train_arguments() + switch_router() +
                   "--no-token-positional-embeddings --dropout 0 --attention-dropout 0 --lr 0 "
                   "--moe-gate-loss-wt 0 --log-interval 2 --max-update 16 --disable-validation ";
  const auto data = path + "/bin ";
  arguments.replace(arguments.find(data), data.size(), path + "/word ");
  const auto result = evomoe(arguments);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("update 6: the router of layer 1 has collapsed"),
                                HasSubstr("3 of 4 experts have none"),
                                HasSubstr("--moe-gate-loss-wt (now 0)")));
  EXPECT_EQ(result.err.find("collapsed"), result.err.rfind("collapsed")) << result.err;
}

TEST_F(LogFormat, ARouterThatUsesItsExpertsIsNotToldOf) {
  const auto result = evomoe(train_arguments() + switch_router());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, Not(HasSubstr("collapsed")));
}

}  // namespace
}  // namespace evomoe
