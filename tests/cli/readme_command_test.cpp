// The command of the authors' README, as their script gives it.
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ReadmeCommand : public Commands {
 protected:
  testing::CommandResult readme(const std::string& environment) const {
    const auto script = testing::source_dir() / "tests" / "cli" / "readme_command.sh";
    return testing::run_command(fmt::format(
        "env -u OMPI_COMM_WORLD_SIZE -u DLWS_NUM_GPU_PER_WORKER {} {} {} {}/bin {}/run "
        "--decoder-layers 2 --decoder-embed-dim 16 --decoder-ffn-embed-dim 32 "
        "--decoder-attention-heads 2 --threads 1 --device cpu",
        environment, script.string(), testing::program().string(), folder_.path().string(),
        folder_.path().string()));
  }
};

TEST_F(ReadmeCommand, TrainsAndItsLogHasTheReferencesKeysInTheirOrder) {
  const auto result = readme("");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::vector<std::string> expected = {"epoch", "update", "loss", "ppl", "wps", "ups", "wpb",
                                             "bsz", "num_updates", "lr", "gnorm", "clip",
                                             "train_wall", "wall"};
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

TEST_F(ReadmeCommand, SeveralProcessesAreRefusedWithTheReason) {
  for (const auto* environment :
       {"DLWS_NUM_GPU_PER_WORKER=4", "OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0"}) {
    SCOPED_TRACE(environment);
    const auto result = readme(environment);
    EXPECT_NE(result.exit_code, 0);
    EXPECT_THAT(result.err, AllOf(HasSubstr("--distributed-world-size"), HasSubstr("only 1")));
  }
}

}  // namespace
}  // namespace evomoe
