#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class Plan : public Commands {
 protected:
  static std::string model() {
    return "--vocab-size 1000 --batch-size 4 --tokens-per-sample 64 --arch "
           "transformer_lm_gpt2_tiny --moe-freq 2 --moe-expert-count 8 --moe-top1-expert ";
  }
};

TEST_F(Plan, ListsWhatFitsBestFirst) {
  const auto result = evomoe("plan --ranks 1,4 " + model());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("computed, not measured"));
  const auto lines = evomoe("plan --json --ranks 1,4 " + model());
  std::istringstream in(lines.out);
  int count = 0;
  double before = 0;
  for (std::string line; std::getline(in, line); ++count) {
    const auto cost = nlohmann::json::parse(line);
    EXPECT_GE(cost.at("seconds").get<double>(), before);
    before = cost.at("seconds").get<double>();
    EXPECT_EQ(cost.at("bytes").get<double>() == 0, cost.at("ranks").get<int>() == 1);
  }
  EXPECT_EQ(count, 1 + 3 * 4);
}

TEST_F(Plan, ExpertsOfAnArchitectureAreDividedAsThoseThatAreGiven) {
  const auto lines = evomoe(
      "plan --json --ranks 1,4 --vocab-size 1000 --batch-size 4 --tokens-per-sample 64 --arch "
      "olmoe_tiny");
  ASSERT_EQ(lines.exit_code, 0) << lines.err;
  EXPECT_EQ(std::ranges::count(lines.out, '\n'), 1 + 3 * 4);
}

TEST_F(Plan, FrozenParametersTakeLessAndNothingFallsBelowZero) {
  using Layout = std::array<int, 3>;
  const auto costs_of = [&](const std::string& freeze) {
    const auto lines = evomoe("plan --json --ranks 1,4 " + freeze + model());
    EXPECT_EQ(lines.exit_code, 0) << lines.err;
    std::map<Layout, nlohmann::json> costs;
    std::istringstream in(lines.out);
    for (std::string line; std::getline(in, line);) {
      const auto cost = nlohmann::json::parse(line);
      const auto number = [&](const char* name) { return cost.at(name).get<int>(); };
      costs[Layout{number("ranks"), number("expert_parallel_size"), number("zero_stage")}] = cost;
    }
    return costs;
  };
  const auto all = costs_of("");
  for (const std::string kinds : {"expert", "embedding,head,norm,bias,matrix", "router"}) {
    const auto costs = costs_of("--freeze " + kinds + " ");
    ASSERT_EQ(costs.size(), all.size());
    for (const auto& [layout, cost] : costs) {
      SCOPED_TRACE(kinds + " " + cost.dump());
      for (const auto& [name, figure] : cost.items()) {
        if (figure.is_number()) EXPECT_GE(figure.get<double>(), 0) << name;
      }
      for (const std::string name : {"memory", "gradient_bytes", "update_seconds"})
        EXPECT_LE(cost.at(name).get<double>(), all.at(layout).at(name).get<double>()) << name;
      for (const std::string name : {"memory", "compute_seconds"})
        EXPECT_LT(cost.at(name).get<double>(), all.at(layout).at(name).get<double>()) << name;
    }
  }
}

TEST_F(Plan, TakesTheVocabularyOfAFolderOfData) {
  const auto data = evomoe("plan --ranks 2 --batch-size 4 " + (folder_ / "bin").string());
  EXPECT_EQ(data.exit_code, 0) << data.err;
}

TEST_F(Plan, MachinesArePrintedAndReadAgain) {
  const auto printed = evomoe("plan --print-machine --machine h200_node --ranks 1");
  ASSERT_EQ(printed.exit_code, 0);
  testing::write_text(folder_ / "mine.yaml", printed.out);
  const auto result =
      evomoe("plan --ranks 2 --machine " + (folder_ / "mine.yaml").string() + " " + model());
  EXPECT_THAT(result.out, HasSubstr("mine: nodes of 8 NVIDIA H200"));
}

TEST_F(Plan, BadInputIsRefused) {
  expect_refused("plan " + model(), {"--ranks"});
  expect_refused("plan --ranks 0 " + model(), {"--ranks 0"});
  expect_refused("plan --ranks 2 --batch-size 4", {"--vocab-size"});
  expect_refused("plan --ranks 2 --vocab-size 10", {"--batch-size or --max-tokens"});
  expect_refused("plan --ranks 2 --update-freq 1,8 " + model(), {"--update-freq", "one"});
  EXPECT_THAT(evomoe("plan --ranks 2 --memory-budget 1M " + model()).out,
              HasSubstr("No layout fits"));
  expect_refused("plan --ranks 2 --machine nothing " + model(), {"--machine nothing", "h100_node"});
  expect_refused("plan --ranks 2 --active-experts 9 " + model(),
                 {"--active-experts 9", "8 experts"});
}

}  // namespace
}  // namespace evomoe
