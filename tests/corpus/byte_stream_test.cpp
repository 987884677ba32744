#include "evomoe/corpus/byte_stream.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/testing/compressed.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using testing::gzipped;
using testing::write_text;
using testing::zstd_compressed;

class ByteStreams : public ::testing::Test {
 protected:
  std::string read(const std::string& name, const std::string& bytes, size_t step = 1 << 16) {
    write_text(folder_ / name, bytes);
    const auto stream = open_bytes(folder_ / name);
    std::string text;
    std::string part(step, '\0');
    for (size_t got = step; got == step;) {
      got = stream->read(part.data(), step);
      text.append(part, 0, got);
    }
    EXPECT_EQ(stream->read(part.data(), step), 0u) << "at the end it stays";
    EXPECT_EQ(stream->file_bytes(), static_cast<int64_t>(bytes.size()));
    last_position_ = stream->position();
    return text;
  }
  testing::TemporaryFolder folder_;
  int64_t last_position_ = 0;
};

std::string some_text() {
  std::string text;
  for (int i = 0; i < 60'000; ++i) text += fmt::format("line {} of the text\n", i * 7919 % 10'007);
  return text;
}

TEST_F(ByteStreams, GiveTheSameTextHoweverItIsStoredAndRead) {
  const auto text = some_text();
  for (const size_t step : {size_t{1000}, size_t{1} << 22}) {
    EXPECT_TRUE(read("x", text, step) == text);
    EXPECT_TRUE(read("x.gz", gzipped(text), step) == text);
    EXPECT_TRUE(read("x.zst", zstd_compressed(text), step) == text);
  }
  EXPECT_EQ(last_position_, static_cast<int64_t>(zstd_compressed(text).size()));
  EXPECT_EQ(read("x", ""), "");
  EXPECT_EQ(read("x.gz", gzipped("")), "");
  EXPECT_EQ(read("x.zst", zstd_compressed("")), "");
}

TEST_F(ByteStreams, AFileMayHaveSeveralMembersOrFrames) {
  EXPECT_EQ(read("x.gz", gzipped("a\n") + gzipped("") + gzipped("b\n")), "a\nb\n");
  EXPECT_EQ(read("x.gz", gzipped("a\n") + std::string(512, '\0')), "a\n") << "padded, as on a tape";
  EXPECT_EQ(read("x.zst", zstd_compressed("a\n") + zstd_compressed("b\n")), "a\nb\n");
  const std::string skippable("\x50\x2a\x4d\x18\x02\0\0\0zz", 10);
  EXPECT_EQ(read("x.zst", skippable + zstd_compressed("b\n")), "b\n");
}

TEST_F(ByteStreams, ACutIsFoundWhereverItIs) {
  const auto gzip = gzipped("the cat sat on the mat\n");
  const auto zstd = zstd_compressed("the cat sat on the mat\n");
  for (size_t size = 0; size < gzip.size(); ++size)
    expect_error([&] { read("x.gz", gzip.substr(0, size)); }, {"x.gz", "gzip"});
  for (size_t size = 0; size < zstd.size(); ++size)
    expect_error([&] { read("x.zst", zstd.substr(0, size)); }, {"x.zst", "Zstandard"});
  expect_error([&] { read("x.gz", gzip.substr(0, gzip.size() - 1)); }, {"cut off"});
  expect_error([&] { read("x.zst", zstd.substr(0, zstd.size() - 1)); }, {"cut off"});
  expect_error([&] { read("x.gz", gzip + gzip.substr(0, gzip.size() - 1)); }, {"cut off"});
  const auto large = gzipped(some_text());
  expect_error([&] { read("x.gz", large.substr(0, large.size() / 2)); }, {"cut off"});
}

TEST_F(ByteStreams, WhatIsDamagedOrSomethingElseIsRefused) {
  auto gzip = gzipped("the cat sat on the mat\n");
  gzip[gzip.size() - 6] ^= 1;  // of the checksum
  expect_error([&] { read("x.gz", gzip); }, {"x.gz", "damaged"});
  expect_error([&] { read("x.gz", gzipped("a") + "b"); }, {"behind its gzip data", "62"});
  expect_error([&] { read("x.gz", "{\"text\": 1}"); }, {"ends in .gz", "7b 22 74 65"});
  expect_error([&] { read("x.zst", gzip); }, {"ends in .zst", "1f 8b"});
  auto zstd = zstd_compressed(some_text());
  zstd[zstd.size() / 2] ^= 0x55;
  expect_error([&] { read("x.zst", zstd); }, {"x.zst", "damaged"});
  expect_error([&] { open_bytes(folder_ / "none.gz"); }, {"none.gz", "cannot open"});
}

TEST(Compression, IsSaidByTheEndingOfTheName) {
  EXPECT_EQ(compression_of("a/b.jsonl.gz"), Compression::kGzip);
  EXPECT_EQ(compression_of("a.gz/b.zst"), Compression::kZstd);
  EXPECT_EQ(compression_of("a.gz/b"), Compression::kNone);
  EXPECT_EQ(without_compression("a/b.jsonl.gz"), "a/b.jsonl");
  EXPECT_EQ(without_compression("a/b.jsonl"), "a/b.jsonl");
}

}  // namespace
}  // namespace evomoe
