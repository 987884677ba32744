#include "evomoe/base/byte_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

TEST(ByteSize, TakesNumbersWithALetterOfEitherCase) {
  EXPECT_EQ(parse_byte_size("8G", "--x"), int64_t{8} << 30);
  EXPECT_EQ(parse_byte_size("8g", "--x"), int64_t{8} << 30);
  EXPECT_EQ(parse_byte_size("1.5 GiB", "--x"), int64_t{3} << 29);
  EXPECT_EQ(parse_byte_size("512MB", "--x"), int64_t{512} << 20);
  EXPECT_EQ(parse_byte_size("0.5K", "--x"), 512);
  EXPECT_EQ(parse_byte_size("2T", "--x"), int64_t{2} << 40);
  EXPECT_EQ(parse_byte_size("4096", "--x"), 4096);
}

TEST(ByteSize, RefusesAnythingElseByName) {
  for (const auto* text : {"", "G", "8X", "8GG", "-1G", "0", "0.0M", "1e9", "8 G B", "nan", "inf",
                           "8Gi", "99999999999T"}) {
    try {
      parse_byte_size(text, "--memory-budget");
      ADD_FAILURE() << "'" << text << "' was taken";
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("--memory-budget: '" + std::string(text)));
      EXPECT_THAT(error.what(), ::testing::HasSubstr("8G"));
    }
  }
}

TEST(ByteSize, IsWrittenWithAUnitThatSuits) {
  EXPECT_EQ(byte_size_text(12), "12 B");
  EXPECT_EQ(byte_size_text(1536), "1.50 KiB");
  EXPECT_EQ(byte_size_text((int64_t{5} << 30) / 2), "2.50 GiB");
}

}  // namespace
}  // namespace evomoe
