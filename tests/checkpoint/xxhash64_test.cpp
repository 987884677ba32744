#include "evomoe/checkpoint/xxhash64.h"

#include <gtest/gtest.h>

#include <string>

namespace evomoe {
namespace {

TEST(XxHash64, EqualsPublishedValues) {
  EXPECT_EQ(xxhash64(""), 0xEF46DB3751D8E999ULL);
  EXPECT_EQ(xxhash64("a"), 0xD24EC4F1A98C6E5BULL);
  EXPECT_EQ(xxhash64("abc"), 0x44BC2CF5AD770999ULL);
  EXPECT_EQ(xxhash64("Nobody inspects the spammish repetition"), 0xFBCEA83C8A378BF1ULL);
}

TEST(XxHash64, DoesNotDependOnThePieces) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 37);
  for (const size_t piece : {1, 3, 31, 32, 33, 100}) {
    XxHash64 hash;
    for (size_t at = 0; at < text.size(); at += piece)
      hash.update(std::string_view(text).substr(at, piece));
    EXPECT_EQ(hash.digest(), xxhash64(text)) << piece;
  }
}

}  // namespace
}  // namespace evomoe
