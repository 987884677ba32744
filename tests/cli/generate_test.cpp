// evomoe generate and info of a checkpoint.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>

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

/// What stands behind the tab of the line that begins with `begin`.
std::string field_of(const std::string& text, const std::string& begin) {
  const auto at = text.find(begin);
  if (at == std::string::npos) return "(none)";
  const auto line = text.substr(at, text.find('\n', at) - at);
  return line.substr(line.rfind('\t') + 1);
}

TEST_F(Commands, APromptIsContinuedAsInInteractive) {
  for (const std::string flags : {"", "--add-bos-token "}) {
    const auto run = "run" + std::to_string(flags.size());
    ASSERT_EQ(
        evomoe(train_arguments(run) + "--sample-break-mode eos --max-update 60 " + flags).exit_code,
        0);
    const auto path = (folder_ / run / "checkpoint_last").string();
    for (const std::string prompt : {"the w4 sees", "  w4\tand \r", "unheard-of"}) {
      testing::write_text(folder_ / "prompt", prompt + "\n");
      const auto input = "--input " + (folder_ / "prompt").string() + " --threads 1 --path " + path;
      const auto searched = evomoe("interactive " + input + " --beam 1 --max-len-b 14");
      ASSERT_EQ(searched.exit_code, 0) << searched.err;
      const auto continued = evomoe("generate " + input + " --min-len 1 --max-len 8 --greedy");
      ASSERT_EQ(continued.exit_code, 0) << continued.err;
      const auto whole = field_of(searched.out, "D-0\t");
      auto text = continued.out.substr(0, continued.out.find('\n'));
      if (prompt == "unheard-of") text.replace(0, prompt.size(), "<unk>");
      if (prompt == "  w4\tand \r") text.replace(0, text.find("and"), "w4 ");
      EXPECT_TRUE(whole.starts_with(text) || text.starts_with(whole)) << whole << "\n" << text;
      EXPECT_GT(std::min(whole.size(), text.size()), prompt.size() / 2);
    }
  }
}

TEST_F(Commands, EveryEndOfLineEndsAPrompt) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  const auto run = [&](const std::string& command, const std::string& text, bool piped) {
    testing::write_text(folder_ / "lines", text);
    const auto file = (folder_ / "lines").string();
    const auto result = testing::run_command(fmt::format(
        "{} {} --path {}/run/checkpoint_last --threads 1 {}", testing::program().string(), command,
        folder_.path().string(), piped ? "< " + file : "--input " + file));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return std::regex_replace(result.out, std::regex("W-[^\n]*"), "");  // times
  };
  for (const std::string command :
       {"generate --max-len 4 --log-format json", "interactive --beam 2 --max-len-b 9"}) {
    const auto lines = run(command, "the w4\nw7 w2\n\nw1\n", false);
    for (const auto* text :
         {"the w4\r\nw7 w2\r\n\r\nw1\r\n", "the w4\rw7 w2\r\rw1\r", "the w4\nw7 w2\r\n\rw1"}) {
      EXPECT_EQ(run(command, text, false), lines) << command;
      EXPECT_EQ(run(command, text, true), lines) << command;
    }
  }
  testing::write_text(folder_ / "lines", "the w4\r\n\xFFw7\n");
  expect_refused(fmt::format("generate --path {0}/run/checkpoint_last --input {0}/lines",
                             folder_.path().string()),
                 {"lines:2", "not UTF-8", "iconv"}, 1);
}

TEST_F(Commands, APromptOfRunningTextIsSampledAndGoesOnBehindLines) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 60").exit_code, 0);
  const auto generate = [&](const std::string& flags) {
    const auto result =
        evomoe(fmt::format("generate --path {}/run/checkpoint_last --threads 1 --prompt 'the w4' "
                           "--max-len 40 --log-format json {}",
                           folder_.path().string(), flags));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out.substr(0, result.out.find('\n')));
  };
  const auto sampled = generate("");
  EXPECT_EQ(sampled["tokens"], 40);
  EXPECT_EQ(sampled, generate("--sampling --sampling-topk 50 --ignore-eos"));
  EXPECT_EQ(generate(""), sampled) << "by its seed";
  EXPECT_NE(generate("--seed 7")["text"], sampled["text"]);
  const auto greedy = generate("--greedy --ignore-eos");
  EXPECT_EQ(greedy, generate("--sampling-topk 1 --sampling-topp 0.9")) << "k and p both hold";
  EXPECT_THAT(greedy["text"].get<std::string>(), HasSubstr("\n"));
  EXPECT_LT(generate("--greedy --stop-at-eos")["tokens"], 40);
  expect_refused(
      fmt::format("generate --path {}/run/checkpoint_last --prompt w1 --greedy --sampling-topk 3",
                  folder_.path().string()),
      {"--sampling-topk"});
}

TEST_F(Commands, APromptThatIsCutIsSaid) {
  ASSERT_EQ(evomoe(train_arguments() + "--max-update 2").exit_code, 0);
  std::string prompt;
  for (int i = 0; i < 30; ++i) prompt += " w1";
  testing::write_text(folder_ / "prompts", "w1\n" + prompt + "\n");
  const auto generate =
      fmt::format("generate --path {0}/run/checkpoint_last --max-len 2 --input {0}/prompts",
                  folder_.path().string());
  const auto result = evomoe(generate);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err,
              HasSubstr("prompts:2: the prompt has 31 tokens, more than the 16 positions"));
  EXPECT_THAT(result.err, HasSubstr("its last 8"));
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("prompts:1")));
}

}  // namespace
}  // namespace evomoe
