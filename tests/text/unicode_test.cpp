#include "evomoe/text/unicode.h"

#include <gtest/gtest.h>

namespace evomoe {
namespace {

TEST(LowerCase, IsPythons) {
  EXPECT_EQ(lower_case("GRÖSSE ÀÉ ΑΒΓ Привет 你好 1.A"), "grösse àé αβγ привет 你好 1.a");
  EXPECT_EQ(lower_case("İI"), "i\u0307i");
  EXPECT_EQ(lower_case("ẞ ǅ Ω Ⅷ Ⓐ \U00010400"), "ß ǆ ω ⅷ ⓐ \U00010428");
}

TEST(LowerCase, OfASigmaDependsOnItsNeighbours) {
  EXPECT_EQ(lower_case("ΟΔΥΣΣΕΥΣ ΟΔΥΣΣΕΥΣ."), "οδυσσευς οδυσσευς.");
  EXPECT_EQ(lower_case("Σ ΣΑ ΑΣ ΑΣΑ"), "σ σα ας ασα");
  // What has no case and joins a word is looked through, on both sides.
  EXPECT_EQ(lower_case("Α\u0301Σ"), "α\u0301ς");
  EXPECT_EQ(lower_case("ΑΣ'Α ΑΣ-Α ΑΣ1"), "ασ'α ας-α ας1");
  EXPECT_EQ(lower_case("ΑΣ\u00ADΑ"), "ασ\u00ADα");
}

TEST(ValidUtf8, ReplacesWhatIsNoneAsPythonDoes) {
  EXPECT_EQ(valid_utf8("aé中😀"), "aé中😀");
  EXPECT_EQ(valid_utf8("a\xFF"
                       "b"),
            "a\uFFFDb");
  EXPECT_EQ(valid_utf8("\xE4\xB8"), "\uFFFD") << "one for the beginning of a character";
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD") << "a surrogate begins none";
}

TEST(Unicode, KnowsLettersAndNumbersOfItsVersion) {
  EXPECT_TRUE(is_letter(0xE9) && is_letter(0x4E2D) && is_letter(0x2B0));
  EXPECT_TRUE(is_number(0xBD) && is_number(0x663) && is_number(0x2167));
  EXPECT_FALSE(is_letter(0x301) || is_number(0x301) || is_letter(0x1F600) || is_letter(0x378));
  EXPECT_GE(std::stod(unicode_version()), 14) << "Debian 12's is 15.0";
}

}  // namespace
}  // namespace evomoe
