// The commands of the authors' scripts and of the texts of fairseq that they build on, as they
// stand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "evomoe/base/error.h"
#include "evomoe/config/describe.h"
#include "evomoe/config/validate_options.h"
#include "evomoe/generate/evaluation_options.h"
#include "evomoe/generate/generate_lines.h"
#include "evomoe/train/settings.h"
#include "evomoe/train/validate_options.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

struct ReferenceCommand {
  std::string name;
  std::vector<std::string> arguments;
  std::string refusal;  ///< part of the error; empty: none
};

/// The words of a command line, of which those in single quotes may hold spaces.
std::vector<std::string> shell_words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false, any = false;
  for (const char c : line + " ") {
    if (c == '\'') {
      quoted = !quoted;
      any = true;
    } else if (c == ' ' && !quoted) {
      if (any) words.push_back(word);
      word.clear();
      any = false;
    } else {
      word += c;
      any = true;
    }
  }
  return words;
}

std::vector<ReferenceCommand> reference_commands() {
  std::istringstream lines(
      testing::read_text(testing::source_dir() / "tests" / "cli" / "reference_commands.txt"));
  const std::string refused = "  refused: ";
  std::vector<ReferenceCommand> commands;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with(refused)) {
      commands.back().refusal = line.substr(refused.size());
      continue;
    }
    const size_t colon = line.find(": ");
    commands.push_back({line.substr(0, colon), shell_words(line.substr(colon + 2)), ""});
  }
  return commands;
}

template <typename Options, typename Describe>
Options parsed(const std::string& program, const std::vector<std::string>& arguments,
               Describe describe_into) {
  Options options;
  OptionTable table(program, "");
  describe_into(table, options);
  table.parse(arguments);
  validate_options(options);
  return options;
}

/// As far as a command goes before it opens a file.
void take(std::vector<std::string> arguments) {
  const auto program = arguments.front();
  arguments.erase(arguments.begin());
  const auto plain = [](OptionTable& table, auto& options) { describe(table, options); };
  if (program == "train") {
    check_settings(parsed<TrainOptions>(program, arguments, plain));
  } else if (program == "generate") {
    parsed<GenerateOptions>(program, arguments, plain);
  } else if (program == "eval-lm") {
    parsed<EvalOptions>(program, arguments, describe_eval_lm);
  } else if (program == "preprocess") {
    parsed<PreprocessFlags>(program, arguments, plain);
  } else if (program == "score") {
    parsed<ScoreOptions>(program, arguments, plain);
  } else {
    FAIL() << "no program " << program;
  }
}

TEST(ReferenceCommands, EachIsTakenAsItStandsOrRefusedForTheReasonGiven) {
  const auto commands = reference_commands();
  EXPECT_GT(commands.size(), 60);
  for (const auto& command : commands) {
    SCOPED_TRACE(command.name);
    std::string error;
    try {
      take(command.arguments);
    } catch (const UsageError& refusal) {
      error = refusal.what();
    }
    if (command.refusal.empty()) {
      EXPECT_EQ(error, "");
    } else {
      EXPECT_THAT(error, HasSubstr(command.refusal));
    }
  }
}

}  // namespace
}  // namespace evomoe
