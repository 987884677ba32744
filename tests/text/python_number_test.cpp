#include "evomoe/text/python_number.h"

#include <gtest/gtest.h>

#include <limits>

namespace evomoe {
namespace {

TEST(PythonInt, ReadsWhatIntReads) {
  for (const auto& [text, number] : {std::pair{"12", 12},
                                     {"+3", 3},
                                     {"-3", -3},
                                     {"-0", 0},
                                     {"007", 7},
                                     {" \t5\u00A0", 5},
                                     {"1_000", 1000},
                                     {"\u0663\u0664", 34},
                                     {"-१_२", -12}}) {
    EXPECT_EQ(python_int(text), number) << text;
  }
  EXPECT_EQ(python_int("99999999999999999999"), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(python_int("-99999999999999999999"), std::numeric_limits<int64_t>::min());
}

TEST(PythonInt, RefusesWhatIntRefuses) {
  for (const auto* text : {"", "-", "+", "+-1", "--1", "1.0", "1e3", "0x10", "_1", "1_", "1__0",
                           "1 2", "- 1", "½", "\u2460", "Ⅷ",
                           "\x1C"
                           "5",
                           "x", "\xFF"}) {
    EXPECT_FALSE(python_int(text).has_value()) << text;
  }
}

TEST(PythonFloat, ReadsFiniteNumbersAsFloatDoes) {
  for (const auto& [text, number] : {std::pair{"1.5", 1.5},
                                     {"+.5", .5},
                                     {"-5.", -5.},
                                     {"1e3", 1e3},
                                     {"1_0.2_5", 10.25},
                                     {"\u0663.\u0664", 3.4}}) {
    EXPECT_EQ(python_float(text), number) << text;
  }
  for (const auto* text :
       {"", ".", "+-1", "1__0", "1_.5", "0x1", "nan", "inf", "-Infinity", "1e"}) {
    EXPECT_FALSE(python_float(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace evomoe
