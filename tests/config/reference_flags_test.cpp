#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "evomoe/config/describe.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

TEST(ReferenceFlags, EachWorksOrHasNoEffectOrIsRefusedWithAReason) {
  TrainOptions options;
  OptionTable table("train", "");
  describe(table, options);
  std::set<std::string> known;
  for (const auto& option : table.options()) {
    known.insert(option->name());
    known.insert(option->aliases().begin(), option->aliases().end());
  }
  for (const auto& shorthand : table.shorthands()) known.insert(shorthand.name);
  for (const auto& flag : table.legacy_flags()) {
    EXPECT_NE(flag.note, "") << flag.name;
    EXPECT_TRUE(known.insert(flag.name).second) << flag.name << " is described twice";
  }
  std::istringstream lines(
      testing::read_text(testing::source_dir() / "tests" / "config" / "reference_flags.txt"));
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::string flag = line.substr(0, line.find(' '));
    EXPECT_EQ(known.count(flag), 1) << "--" << flag << " of " << line.substr(line.find(' ') + 1);
    ++count;
  }
  EXPECT_GT(count, 200);
}

}  // namespace
}  // namespace evomoe
