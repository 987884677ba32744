#include "evomoe/cli/manual.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/cli/command_list.h"
#include "evomoe/cli/command_tables.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;

bool is_installed(const std::string& program) {
  return testing::run_command("command -v " + program).exit_code == 0;
}

/// Each page by its name.
std::vector<std::pair<std::string, std::string>> pages() {
  std::vector<std::pair<std::string, std::string>> all = {{"evomoe", program_manual("1.2")}};
  for (const auto& table : command_tables())
    all.emplace_back("evomoe-" + table->command(),
                     command_manual(table->command(), {table}, "1.2"));
  return all;
}

TEST(Manual, TheProgramsPageNamesEveryCommand) {
  const auto page = program_manual("1.2");
  EXPECT_THAT(page, HasSubstr(".TH EVOMOE 1 \"\" \"evomoe 1.2\""));
  for (const auto& command : all_commands()) {
    std::string name = command.name;
    if (const auto dash = name.find('-'); dash != std::string::npos) name.insert(dash, "\\");
    EXPECT_THAT(page, HasSubstr("evomoe\\-" + name + "\\fR(1)")) << command.name;
  }
}

TEST(Manual, EveryPageIsSoundTroff) {
  if (!is_installed("groff")) GTEST_SKIP() << "there is no groff here (apt-get install groff-base)";
  testing::TemporaryFolder folder;
  for (const auto& [name, text] : pages()) {
    const auto path = (folder / (name + ".1")).string();
    testing::write_text(path, text);
    const auto checked = testing::run_command("groff -man -ww -z " + path);
    EXPECT_EQ(checked.exit_code, 0) << name;
    EXPECT_EQ(checked.err, "") << name;
    if (!is_installed("mandoc")) continue;
    // No date: a page that is made again is the same.
    const auto lint =
        testing::run_command("mandoc -T lint -W warning " + path + " | grep -v 'missing date'");
    EXPECT_EQ(lint.out, "") << name;
  }
}

TEST(Manual, APageShowsEveryOptionAndItsExamplesAsTheyAreTyped) {
  if (!is_installed("groff")) GTEST_SKIP() << "there is no groff here (apt-get install groff-base)";
  testing::TemporaryFolder folder;
  for (const auto& table : command_tables()) {
    SCOPED_TRACE(table->command());
    testing::write_text(folder / "page", command_manual(table->command(), {table}, "1.2"));
    const auto shown =
        testing::run_command("groff -man -Tutf8 -P-cbou -rLL=200n " + (folder / "page").string());
    const auto text = "\n" + shown.out;
    for (const auto& option : table->options()) {
      std::string entry = "\n       " + spelled(option->name());
      for (const auto& alias : option->aliases()) entry += ", " + spelled(alias);
      if (!option->metavar().empty()) entry += " " + option->metavar();
      EXPECT_THAT(text, HasSubstr(entry));
    }
    for (const auto& shorthand : table->shorthands())
      EXPECT_THAT(text, HasSubstr("\n       --" + shorthand.name));
    for (const auto& example : table->examples()) {
      std::string joined;  // a long one is continued by backslashes
      for (size_t i = 0; i < text.size(); ++i) {
        if (text.compare(i, 2, "\\\n") == 0) {
          i = text.find_first_not_of(' ', i + 2) - 1;
        } else {
          joined += text[i];
        }
      }
      EXPECT_THAT(joined, HasSubstr("\n           " + example.line + "\n"));
    }
  }
}

}  // namespace
}  // namespace evomoe
