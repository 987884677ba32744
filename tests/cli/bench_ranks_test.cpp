// Benchmarks that several processes make together.
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "tests/cli/commands_fixture.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

class BenchRanks : public Commands {
 protected:
  void SetUp() override {
    EVOMOE_NEEDS_RANKS();
    Commands::SetUp();
  }

  std::vector<nlohmann::json> lines_of(const std::string& arguments) {
    const auto result = evomoe("bench " + arguments);
    EXPECT_EQ(result.exit_code, 0) << arguments << "\n" << result.err;
    std::vector<nlohmann::json> lines;
    std::istringstream in(result.out);
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  static std::string step(const std::string& more) {
    return "step --suite tiny --warmup 1 --steps 2 --peak-seconds 0 --threads 1 " + more;
  }
};

TEST_F(BenchRanks, AStepOfSeveralRanksIsThatOfOne) {
  const auto one = lines_of(step(""));
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].at("comm_mb"), 0.0);
  for (const auto* layout : {"--expert-parallel-size 1", "--expert-parallel-size 2",
                             "--expert-parallel-size 2 --zero-stage 3"}) {
    SCOPED_TRACE(layout);
    const auto two = lines_of(step(std::string("--distributed-world-size 2 ") + layout));
    ASSERT_EQ(two.size(), 1U) << "rank 0 alone prints";
    EXPECT_EQ(two[0].at("ranks"), 2);
    EXPECT_EQ(two[0].at("case"), one[0].at("case"));
    EXPECT_NEAR(two[0].at("first_loss").get<double>(), one[0].at("first_loss").get<double>(), 1e-4);
    EXPECT_NEAR(two[0].at("first_norm").get<double>(), one[0].at("first_norm").get<double>(),
                2e-3 * one[0].at("first_norm").get<double>());
    const auto sent = two[0].at("comm_mb").get<double>();
    EXPECT_GT(sent, 0);
    // The system counts headers as well, and what other programs of the machine send.
    if (two[0].at("comm_mb_on_lo").get<double>() > 0)
      EXPECT_GT(two[0].at("comm_mb_on_lo").get<double>(), 0.8 * sent);
  }
}

TEST_F(BenchRanks, LinksAreMeasuredForEachOperation) {
  const auto lines = lines_of("link --mib 1 --warmup 1 --repeats 2 --distributed-world-size 2");
  ASSERT_EQ(lines.size(), 4U);
  for (const auto& line : lines) {
    EXPECT_GT(line.at("sent_gbs").get<double>(), 0);
    EXPECT_GT(line.at("latency_ms").get<double>(), 0);
  }
}

TEST_F(BenchRanks, BadInputIsRefused) {
  expect_refused("bench link", {"--distributed-world-size 2"});
  expect_refused("bench step --suite tiny --batch 3 --distributed-world-size 2",
                 {"--batch 3", "2 ranks"});
}

}  // namespace
}  // namespace evomoe
