#include "evomoe/base/text_layout.h"

#include <gtest/gtest.h>

#include <sstream>

namespace evomoe {
namespace {

TEST(TextLayout, ACodePointIsAColumn) {
  EXPECT_EQ(terminal_columns(""), 0U);
  EXPECT_EQ(terminal_columns("2 ± 1"), 5U);
  EXPECT_EQ(terminal_columns("τ"), 1U);
}

TEST(TextLayout, WordsGoIntoLinesOfTheWidth) {
  EXPECT_EQ(wrap_words("aa bb cc", 5), "aa bb\ncc");
  EXPECT_EQ(wrap_words("aa  bb\n cc ", 8), "aa bb cc");
  EXPECT_EQ(wrap_words("ττ ττ", 5), "ττ ττ") << "bytes are not columns";
  EXPECT_EQ(wrap_words("", 5), "");
}

TEST(TextLayout, LaterLinesAreIndentedAsTheFirst) {
  EXPECT_EQ(wrap_words("aa bb cc", 9, 4), "aa bb\n    cc");
}

TEST(TextLayout, AWordLongerThanTheWidthHasALineOfItsOwn) {
  EXPECT_EQ(wrap_words("a bbbbbbbb c", 4), "a\nbbbbbbbb\nc");
}

}  // namespace
}  // namespace evomoe
