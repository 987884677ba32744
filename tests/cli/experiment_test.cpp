// scripts/experiment.sh and scripts/demo.sh, with a program that only tells how it was called.
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Experiment : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto program = folder_ / "program";
    testing::write_text(program, "#!/bin/sh\necho \"$@\" >>" + (folder_ / "calls").string() + "\n");
    fs::permissions(program, fs::perms::owner_all);
    fs::create_directories(folder_ / "my.recipes");
    for (const auto* name : {"lm", "lm.switch", "lm.top.2", "lm2", "other.switch"})
      testing::write_text(folder_ / fmt::format("my.recipes/{}.yaml", name), "lr: 0.1\n");
  }

  testing::CommandResult script(const std::string& name, const std::string& arguments,
                                const std::string& variables = "") {
    fs::remove(folder_ / "calls");
    const auto path = testing::source_dir() / "scripts" / name;
    return testing::run_command(fmt::format("cd {} && env -u SEEDS -u THREADS -u DATA {} {} {}",
                                            folder_.path().string(), variables, path.string(),
                                            arguments));
  }
  std::string calls() const { return testing::read_text(folder_ / "calls"); }

  testing::TemporaryFolder folder_;
};

TEST_F(Experiment, ARecipeMayLieAnywhereWithThoseLaidOverItBesideIt) {
  const auto result = script("experiment.sh", "./program my.recipes/lm.yaml bin runs --threads 1");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(calls(),
            "train bin --config my.recipes/lm.yaml --threads 1 --save-dir runs/dense\n"
            "train bin --config my.recipes/lm.yaml --config my.recipes/lm.switch.yaml --threads 1 "
            "--save-dir runs/switch\n"
            "train bin --config my.recipes/lm.yaml --config my.recipes/lm.top.2.yaml --threads 1 "
            "--save-dir runs/top.2\n"
            "compare runs/dense runs/switch runs/top.2 --baseline runs/switch\n");
  EXPECT_EQ(script("experiment.sh", "../program lm2.yaml bin runs", "-C my.recipes").exit_code, 0);
  EXPECT_THAT(calls(), HasSubstr("compare runs/dense --baseline runs/dense"));
}

TEST_F(Experiment, ANameIsARecipeOfTheProject) {
  EXPECT_EQ(script("experiment.sh", "./program demo bin runs").exit_code, 0);
  EXPECT_THAT(calls(), HasSubstr((testing::source_dir() / "recipes/demo.evomoe.yaml").string()));
}

TEST_F(Experiment, EachRunIsTrainedWithEachSeedAndTheyAreComparedInGroups) {
  EXPECT_EQ(
      script("experiment.sh", "./program my.recipes/lm.yaml bin runs --seed 9", "SEEDS='1 22'")
          .exit_code,
      0);
  EXPECT_THAT(calls(), HasSubstr("--config my.recipes/lm.switch.yaml --seed 9 --seed 22 "
                                 "--save-dir runs/switch-22\n"));
  EXPECT_THAT(calls(), HasSubstr("compare runs/dense-1 runs/dense-22 runs/switch-1 runs/switch-22 "
                                 "runs/top.2-1 runs/top.2-22 --baseline runs/switch-1 --group\n"));
}

TEST_F(Experiment, WhatIsNotThereIsRefusedBeforeAnythingIsTrained) {
  const std::vector<std::array<const char*, 3>> cases = {
      {"./program nothing bin runs", "", "recipes/nothing.yaml; there are: books_small demo"},
      {"./program my.recipes/nothing.yaml bin runs", "", "my.recipes/nothing.yaml"},
      {"./program demo bin runs", "SEEDS='1 two'", "'two' is no seed"}};
  for (const auto& [arguments, variables, words] : cases) {
    const auto result = script("experiment.sh", arguments, variables);
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_THAT(result.err, HasSubstr(words));
    EXPECT_FALSE(fs::exists(folder_ / "calls"));
  }
}

TEST_F(Experiment, TheDemoTellsEachProgramOfTheThreadsAndShowsTextByEachModel) {
  testing::write_text(folder_ / "text.txt", [] {
    std::string text;
    for (int i = 0; i < 300; ++i) text += fmt::format("def f{}(x): return x + {}\n", i, i);
    return text;
  }());
  const auto variables = fmt::format("DATA={}/text.txt DEMO={}/demo", folder_.path().string(),
                                     folder_.path().string());
  const auto result = script("demo.sh", "./program", variables + " THREADS=1");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const auto* run : {"dense", "switch", "evomoe"}) {
    EXPECT_THAT(calls(), HasSubstr(fmt::format("--threads 1 --save-dir {}/demo/{}\n",
                                               folder_.path().string(), run)));
    EXPECT_THAT(calls(), HasSubstr(fmt::format("generate --path {}/demo/{}/checkpoint_last",
                                               folder_.path().string(), run)));
    EXPECT_THAT(result.out, HasSubstr(fmt::format("--- {}\n", run)));
  }
  EXPECT_EQ(script("demo.sh", "./program", variables).exit_code, 0);
  EXPECT_THAT(calls(), Not(HasSubstr("--threads")));
}

}  // namespace
}  // namespace evomoe
