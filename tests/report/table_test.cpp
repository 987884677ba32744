#include "evomoe/report/table.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

Table sample_table() {
  Table table({"run", "perplexity", "time"});
  table.add_row({"évolution", "12.5", "1:06:40"});
  table.add_row({"a|b", "–", "58 s"});
  return table;
}

TEST(Table, AlignsTextLeftAndNumbersRight) {
  EXPECT_EQ(sample_table().text(),
            "run        perplexity     time\n"
            "---------  ----------  -------\n"
            "évolution        12.5  1:06:40\n"
            "a|b                 –     58 s\n");
}

TEST(Table, MarkdownAlignsNumbersAndEscapesBars) {
  EXPECT_EQ(sample_table().markdown(),
            "| run | perplexity | time |\n"
            "| --- | ---: | ---: |\n"
            "| évolution | 12.5 | 1:06:40 |\n"
            "| a\\|b | – | 58 s |\n");
}

TEST(Table, ARowOfAnotherLengthIsAnError) {
  Table table({"a", "b"});
  EXPECT_THROW(table.add_row({"1"}), Error);
  EXPECT_THROW(Table({}), Error);
}

TEST(Table, WithoutRowsIsAHeader) {
  EXPECT_EQ(Table({"run", "loss"}).text(), "run  loss\n---  ----\n");
}

}  // namespace
}  // namespace evomoe
