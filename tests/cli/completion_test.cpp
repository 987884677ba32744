// The completion scripts, run by bash and by zsh themselves.
#include "evomoe/cli/completion.h"

#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_tables.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::UnorderedElementsAre;

using Words = std::vector<std::string>;

bool has(const std::string& program) {
  return testing::run_command("command -v " + program).exit_code == 0;
}

Words lines_of(const std::string& text) {
  std::istringstream stream(text);
  Words lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string quoted(const std::string& text) { return "'" + text + "'"; }

/// A shell in a folder with the files `a.txt`, `b c.txt`, `folder/d.txt` and the folder `runs`.
class CompletionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_ / "files/folder");
    std::filesystem::create_directories(folder_ / "files/runs");
    for (const char* name : {"a.txt", "b c.txt", "folder/d.txt"})
      testing::write_text(folder_ / "files" / name, "");
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// What a shell wrote, answers begin with "== " and a line that is ours.
  static std::vector<Words> answers(const std::string& text) {
    std::vector<Words> all;
    for (const auto& line : lines_of(text)) {
      if (line.starts_with("== ")) {
        all.emplace_back();
      } else if (!all.empty() && !line.empty()) {
        all.back().push_back(line);
      }
    }
    return all;
  }

  testing::TemporaryFolder folder_;
};

class BashCompletion : public CompletionTest {
 protected:
  /// The answers to several command lines, given as bash splits them; the cursor is at the end of
  /// the last word.
  std::vector<Words> ask(const std::vector<Words>& lines) {
    testing::write_text(folder_ / "evomoe", bash_completion(command_tables()));
    std::string script =
        "cd " + path("files") + "\nsource ../evomoe\n" +
        "ask() {\n  COMP_WORDS=(evomoe \"$@\") COMP_CWORD=$# COMPREPLY=()\n  _evomoe\n"
        "  echo '== '\n  printf '%s\\n' \"${COMPREPLY[@]}\"\n}\n";
    for (const auto& line : lines) {
      script += "ask";
      for (const auto& word : line) script += " " + quoted(word);
      script += "\n";
    }
    testing::write_text(folder_ / "script", script);
    const auto result = testing::run_command("bash " + path("script"));
    EXPECT_EQ(result.err, "");
    auto all = answers(result.out);
    EXPECT_EQ(all.size(), lines.size());
    all.resize(lines.size());
    return all;
  }
  Words ask_one(const Words& line) { return ask({line}).front(); }
};

TEST_F(BashCompletion, OffersEveryCommandAndHasItsOptions) {
  Words commands, described = {"bench"};
  for (const auto& command : all_commands()) commands.push_back(command.name);
  for (const auto& table : command_tables()) described.push_back(table->command());
  EXPECT_THAT(described, ::testing::UnorderedElementsAreArray(commands));
  EXPECT_THAT(ask_one({""}), IsSupersetOf(commands));
  EXPECT_THAT(ask_one({"tr"}), ElementsAre("train"));
}

TEST_F(BashCompletion, OffersEveryNameOfEveryOptionOfEveryCommand) {
  const auto tables = command_tables();
  std::vector<Words> lines;
  for (const auto& table : tables) lines.push_back({table->command(), "-"});
  const auto all = ask(lines);
  for (size_t i = 0; i < tables.size(); ++i) {
    SCOPED_TRACE(tables[i]->command());
    Words names = {"-h", "--help", "--config", "--config-dir", "--config-name"};
    for (const auto& option : tables[i]->options()) {
      names.push_back(spelled(option->name()));
      for (const auto& alias : option->aliases()) names.push_back(spelled(alias));
    }
    for (const auto& shorthand : tables[i]->shorthands()) names.push_back("--" + shorthand.name);
    EXPECT_THAT(all[i], ::testing::UnorderedElementsAreArray(names));
  }
}

TEST_F(BashCompletion, OffersWhatEachOptionTakes) {
  std::vector<Words> lines, expected;
  std::vector<std::string> places;
  for (const auto& table : command_tables()) {
    for (const auto& option : table->options()) {
      Words values;
      if (option->type() == OptionType::kFlag) {
        values = {"True", "False"};
      } else if (!option->choices().empty()) {
        for (const auto& choice : option->choices())
          values.push_back(choice == "@@ " ? "@@\\ " : choice);
      } else if (option->is_file()) {
        values = {"a.txt", "b c.txt", "folder", "runs"};
      } else if (option->is_folder()) {
        values = {"folder", "runs"};
      }
      const auto name = spelled(option->name());
      if (option->name().size() == 1) {
        lines.push_back({table->command(), name, ""});
        expected.push_back(values);
        places.push_back(table->command() + " " + name);
        continue;
      }
      lines.push_back({table->command(), name, "=", ""});  // --name=
      lines.push_back({table->command(), name + "="});     // where = breaks no words
      expected.push_back(values);
      for (auto& value : values) value.insert(0, name + "=");
      expected.push_back(values);
      places.insert(places.end(), 2, table->command() + " " + name);
    }
  }
  const auto all = ask(lines);
  for (size_t i = 0; i < lines.size(); ++i)
    EXPECT_THAT(all[i], ::testing::UnorderedElementsAreArray(expected[i])) << places[i];
}

TEST_F(BashCompletion, AValueMayStandBehindItsOption) {
  EXPECT_THAT(ask_one({"train", "--lr-scheduler", "co"}), ElementsAre("cosine"));
  EXPECT_THAT(ask_one({"train", "--lr_scheduler", "co"}), ElementsAre("cosine"));
  EXPECT_THAT(ask_one({"train", "-a", "transformer_lm_gpt2_t"}),
              ElementsAre("transformer_lm_gpt2_tiny"));
  EXPECT_THAT(ask_one({"train", "--save-dir", "ru"}), ElementsAre("runs"));
  EXPECT_THAT(ask_one({"train", "--lr", ""}), IsEmpty());
  // A flag has none, so that the data follows; --remove-bpe has one or none.
  EXPECT_THAT(ask_one({"train", "--no-save", ""}), UnorderedElementsAre("folder", "runs"));
  EXPECT_THAT(ask_one({"generate", "--remove-bpe", ""}), IsSupersetOf({"sentencepiece", "runs"}));
  EXPECT_THAT(ask_one({"generate", "--remove-bpe", "--samp"}), Contains("--sampling"));
}

TEST_F(BashCompletion, UnnamedArgumentsAreCounted) {
  const std::vector<Words> first = {
      {"bpe", ""},
      {"bpe", "--workers", "3", ""},
      {"bpe", "--keep-whitespace", ""},
      {"bpe", "--keep-whitespace", "True", ""},
      {"bpe", "--vocab-size", "=", "300", "--config", "a.txt", ""},
  };
  for (const auto& answer : ask(first))
    EXPECT_THAT(answer, ElementsAre("train", "encode", "decode"));
  for (const auto& answer : ask({{"bpe", "train", ""}, {"bpe", "train", "a.txt", ""}}))
    EXPECT_THAT(answer, UnorderedElementsAre("a.txt", "b c.txt", "folder", "runs"));
  const std::vector<Words> data = {
      {"train", ""},
      {"train", "--config", "a.txt", ""},
      {"train", "common.seed", "=", "2", ""},
      {"train", "--profile", "20", ""},
      {"generate", "--remove-bpe", "none", ""},
      {"compare", "runs", ""},
  };
  for (const auto& answer : ask(data)) EXPECT_THAT(answer, UnorderedElementsAre("folder", "runs"));
  // After the last one there are options only.
  EXPECT_THAT(ask_one({"train", "folder", ""}), IsSupersetOf({"--lr", "--arch"}));
  EXPECT_THAT(ask_one({"nonsense", ""}), IsEmpty());
}

TEST_F(BashCompletion, SeveralPathsAreJoinedByColons) {
  EXPECT_THAT(ask_one({"generate", "--path", "runs", ":", "fo"}), ElementsAre("folder"));
  EXPECT_THAT(ask_one({"generate", "--path", "runs", ":"}), Contains("a.txt"));
  EXPECT_THAT(ask_one({"generate", "--path", "runs:fo"}), ElementsAre("runs:folder"));
  EXPECT_THAT(ask_one({"generate", "--path", "folder/"}), ElementsAre("folder/d.txt"));
}

class ZshCompletion : public CompletionTest {
 protected:
  void SetUp() override {
    CompletionTest::SetUp();
    if (!has("zsh")) GTEST_SKIP() << "there is no zsh here (apt-get install zsh)";
  }

  /// A zsh that a person would type into completes each line, and tells what it would add.
  std::vector<Words> ask(const Words& lines) {
    testing::write_text(folder_ / "_evomoe", zsh_completion(command_tables()));
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    testing::write_text(folder_ / "lines", text);
    testing::write_text(folder_ / ".zshrc", fmt::format(R"ZSH(
fpath=({0} $fpath)
autoload -Uz compinit
compinit -D -u
compadd() {{
  if [[ -z ${{(M)@[1,(i)(-|--)]:#-*[OAD]*}} ]]; then
    local -a found
    builtin compadd -O found "$@"
    print -rl -- $found >>{0}/answers
  fi
  builtin compadd "$@"
}}
zle-line-init() {{
  local line
  cd {0}/files
  for line in "${{(@f)$(<{0}/lines)}}"; do
    BUFFER=$line CURSOR=$#line
    print -r -- "== $line" >>{0}/answers
    zle complete-word
  done
  exit
}}
zle -N zle-line-init
)ZSH",
                                                        folder_.path().string()));
    const auto result = testing::run_command(
        fmt::format("ZDOTDIR={} timeout 100 zsh -fc 'zmodload zsh/zpty; zpty shell zsh -d -i; "
                    "while zpty -r shell; do :; done'",
                    folder_.path().string()));
    auto all = answers(testing::read_text(folder_ / "answers"));
    EXPECT_EQ(all.size(), lines.size()) << result.out << result.err;
    all.resize(lines.size());
    for (auto& answer : all) {
      std::sort(answer.begin(), answer.end());
      answer.erase(std::unique(answer.begin(), answer.end()), answer.end());
    }
    return all;
  }
};

TEST_F(ZshCompletion, OffersCommandsOptionsChoicesFilesAndFolders) {
  Words lines = {"evomoe ",
                 "evomoe tr",
                 "evomoe train --lr-scheduler co",
                 "evomoe train --lr-scheduler=co",
                 "evomoe train -a transformer_lm_gpt2_t",
                 "evomoe train --save-dir ",
                 "evomoe train --no-save ",
                 "evomoe train --no-save=",
                 "evomoe train --init-from ",
                 "evomoe bpe ",
                 "evomoe bpe train a.txt ",
                 "evomoe generate --path runs:fo",
                 "evomoe generate --remove-bpe="};
  const auto all = ask(lines);
  Words commands;
  for (const auto& command : all_commands()) commands.push_back(command.name);
  EXPECT_THAT(all[0], ::testing::UnorderedElementsAreArray(commands));
  const std::vector<Words> expected = {{"train"},
                                       {"cosine"},
                                       {"cosine"},
                                       {"transformer_lm_gpt2_tiny"},
                                       {"folder", "runs"},
                                       {"folder", "runs"},
                                       {"False", "True"},
                                       {"a.txt", "b\\ c.txt", "folder", "runs"},
                                       {"decode", "encode", "train"},
                                       {"a.txt", "b\\ c.txt", "folder", "runs"},
                                       {"folder"}};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(all[i + 1], expected[i]) << lines[i + 1];
  EXPECT_THAT(all.back(), IsSupersetOf({"subword_nmt", "@@ ", "@@", "none"}));
}

TEST_F(ZshCompletion, OffersEveryNameOfEveryOptionOfEveryCommand) {
  const auto tables = command_tables();
  Words lines;
  for (const auto& table : tables) lines.push_back("evomoe " + table->command() + " --");
  const auto all = ask(lines);
  for (size_t i = 0; i < tables.size(); ++i) {
    SCOPED_TRACE(tables[i]->command());
    Words names = {"--help", "--config", "--config-dir", "--config-name"};
    for (const auto& option : tables[i]->options()) {
      if (option->name().size() > 1) names.push_back("--" + option->name());
      for (const auto& alias : option->aliases()) {
        if (alias.size() > 1) names.push_back("--" + alias);
      }
    }
    for (const auto& shorthand : tables[i]->shorthands()) names.push_back("--" + shorthand.name);
    EXPECT_THAT(all[i], ::testing::UnorderedElementsAreArray(names));
  }
}

}  // namespace
}  // namespace evomoe
