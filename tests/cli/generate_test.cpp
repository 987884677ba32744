// evomoe generate and info of a checkpoint.
#include "tests/cli/commands_fixture.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

TEST_F(Commands, GenerateTakesPromptsFromStdinAndFromAFile) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  testing::write_text(folder_ / "prompts", "the w4 sees\nand then w7\n");
  const auto generate =
      fmt::format("{} generate --path {} --max-len 4 --log-format json",
                  testing::program().string(), (folder_ / "run/checkpoint_last").string());
  const auto from_file =
      testing::run_command(generate + " --input " + (folder_ / "prompts").string());
  EXPECT_EQ(from_file.exit_code, 0) << from_file.err;
  EXPECT_THAT(from_file.out, HasSubstr("\"prompt\":\"the w4 sees\""));
  EXPECT_THAT(from_file.out, HasSubstr("\"prompt\":\"and then w7\""));
  const auto from_stdin =
      testing::run_command("cat " + (folder_ / "prompts").string() + " | " + generate);
  EXPECT_EQ(from_stdin.exit_code, 0) << from_stdin.err;
  EXPECT_EQ(from_stdin.out, from_file.out);
  const auto none = testing::run_command(generate);  // stdin is empty
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("--prompt"));
  const auto missing = testing::run_command(generate + " --input " + (folder_ / "no").string());
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("cannot be read"));
}

TEST_F(Commands, ASlashBehindTheCheckpointsNameChangesNothing) {
  ASSERT_EQ(evomoe(train_arguments() + evolution() + "--max-update 4 --symlink").exit_code, 0);
  const auto path = (folder_ / "run/checkpoint_last").string();
  const auto generate = [&](const std::string& suffix) {
    const auto result =
        evomoe(fmt::format("generate --path {}{} --prompt 'the w4' --max-len 4", path, suffix));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  EXPECT_EQ(generate("/"), generate(""));
  const auto info = evomoe("info " + path + "/");
  EXPECT_EQ(info.exit_code, 0) << info.err;
  EXPECT_THAT(info.out, HasSubstr("routers at the last log line"));
}

}  // namespace
}  // namespace evomoe
