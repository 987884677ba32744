// The command of the authors' README, as their script gives it.
#include <unistd.h>

#include <future>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/commands_fixture.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

class ReadmeCommand : public Commands {
 protected:
  /// One that is likely to be free.
  static std::string port(int number) {
    return std::to_string(30000 + (getpid() * 7 + number) % 20000);
  }

  /// The README's variables as a user of one process sets them, and a small model; `variables`
  /// are set besides.
  testing::CommandResult readme(const std::string& variables) const {
    const auto script = testing::source_dir() / "tests" / "cli" / "readme_command.sh";
    const auto folder = folder_.path().string();
    return testing::run_command(fmt::format(
        "env -u OMPI_COMM_WORLD_SIZE DLWS_NUM_GPU_PER_WORKER=1 MASTER_IP=127.0.0.1 "
        "MASTER_PORT=54321 DATA_PATH={0}/bin TOKENS_PER_SAMPLE=16 BATCH_SIZE=4 UPDATE_FREQ=1 "
        "LR=0.001 WARMUP_STEPS=2 CHECKPOINT_PATH={0}/run CHECKPOINT_FREQUENCY=4 "
        "DLWS_NUM_WORKER=1 MAX_UPDATES=8 LOG_PATH={0}/log {1} bash {2} {3} "
        "--decoder-layers 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim 32 "
        "--decoder-attention-heads 2 --log-interval 2 --threads 1 --device cpu",
        folder, variables, script.string(), testing::program().string()));
  }
};

TEST_F(ReadmeCommand, TrainsAndItsLogHasTheReferencesKeysInTheirOrder) {
  const auto result = readme("");
  ASSERT_EQ(result.exit_code, 0) << result.out;
  const std::vector<std::string> expected = {"epoch", "update", "loss",       "ppl",         "wps",
                                             "ups",   "wpb",    "bsz",        "num_updates", "lr",
                                             "gnorm", "clip",   "train_wall", "wall"};
  int lines = 0;
  std::istringstream log(result.out);
  for (std::string line; std::getline(log, line);) {
    const auto at = line.find(" | train_inner | {");
    if (at == std::string::npos) continue;
    const auto record = nlohmann::ordered_json::parse(line.substr(line.find('{', at)));
    std::vector<std::string> keys;
    for (const auto& [key, value] : record.items()) keys.push_back(key);
    ASSERT_GE(keys.size(), expected.size()) << line;
    keys.resize(expected.size());  // our own keys follow
    EXPECT_EQ(keys, expected) << line;
    ++lines;
  }
  EXPECT_EQ(lines, 4) << result.out;
}

TEST_F(ReadmeCommand, StartsTheProcessesOfOneMachine) {
  EVOMOE_NEEDS_RANKS();
  const auto result = readme("DLWS_NUM_GPU_PER_WORKER=2 MASTER_PORT=" + port(1));
  ASSERT_EQ(result.exit_code, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("\"num_updates\": \"8\""));
  EXPECT_THAT(result.out, HasSubstr("done after 8 updates"));
}

TEST_F(ReadmeCommand, StartsThoseOfTwoMachinesThatMpirunHasStartedItOn) {
  EVOMOE_NEEDS_RANKS();
  const auto machine = [&](int number) {
    return readme(fmt::format(
        "OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK={} DLWS_NUM_GPU_PER_WORKER=2 MASTER_PORT={}",
        number, port(2)));
  };
  auto second = std::async(std::launch::async, [&] { return machine(1); });
  const auto first = machine(0);
  EXPECT_EQ(first.exit_code, 0) << first.out;
  EXPECT_THAT(first.out, HasSubstr("done after 8 updates"));
  EXPECT_EQ(second.get().exit_code, 0);
}

TEST_F(ReadmeCommand, StartsThoseThatARealMpirunAsksFor) {
  EVOMOE_NEEDS_RANKS();
  const std::string mpirun = "mpirun.openmpi";
  if (testing::run_command("command -v " + mpirun).exit_code != 0)
    GTEST_SKIP() << "no " << mpirun << " (apt-get install openmpi-bin)";
  const auto result =
      readme(fmt::format("DLWS_NUM_GPU_PER_WORKER=2 MASTER_PORT={} {} --allow-run-as-root "
                         "--oversubscribe -np 2",
                         port(3), mpirun));
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("done after 8 updates"));
  EXPECT_THAT(result.out, HasSubstr("--distributed-world-size 4 --distributed-rank 2"));
}

}  // namespace
}  // namespace evomoe
