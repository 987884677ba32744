#include "evomoe/corpus/megatron_documents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Texts = std::vector<std::string>;

template <typename T>
std::string raw(std::initializer_list<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), std::data(values), bytes.size());
  return bytes;
}

/// Megatron's index: three sequences of 3, 0 and 2 tokens; the first two are a document.
std::string index(uint8_t type = 8, int64_t width = 2) {
  return std::string("MMIDIDX\0\0", 9) + raw<int64_t>({1}) + raw<uint8_t>({type}) +
         raw<int64_t>({3, 3}) + raw<int32_t>({3, 0, 2}) + raw<int64_t>({0, 3 * width, 3 * width}) +
         raw<int64_t>({0, 2, 3});
}

class MegatronDatasets : public ::testing::Test {
 protected:
  Texts read(const std::string& idx, const std::string& bin,
             std::optional<int64_t> eod = std::nullopt) {
    testing::write_text(folder_ / "x.idx", idx);
    testing::write_text(folder_ / "x.bin", bin);
    const auto reader = open_megatron(folder_ / "x.idx", eod);
    EXPECT_EQ(reader->kind(), DocumentKind::kTokenIds);
    Texts texts;
    std::vector<BadRow> bad;
    for (DocumentPiece piece; reader->next(piece);)
      reader->for_each(
          piece, [&](std::string_view text) { texts.emplace_back(text); }, bad);
    EXPECT_TRUE(bad.empty());
    return texts;
  }
  const std::string tokens_ = raw<uint16_t>({5, 65000, 0, 7, 0});
  testing::TemporaryFolder folder_;
};

TEST_F(MegatronDatasets, EachDocumentIsItsTokens) {
  EXPECT_EQ(read(index(), tokens_), (Texts{"5 65000 0", "7 0"}));
  EXPECT_EQ(read(index(4, 4), raw<int32_t>({5, 100'000, 0, 7, 1})), (Texts{"5 100000 0", "7 1"}));
  EXPECT_EQ(read(index(1, 1), raw<uint8_t>({5, 200, 0, 7, 1})), (Texts{"5 200 0", "7 1"}));
  EXPECT_EQ(read(index(5, 8), raw<int64_t>({5, 1, 0, 7, 1})), (Texts{"5 1 0", "7 1"}));
  EXPECT_EQ(read(index() + "\1\1\1", tokens_), (Texts{"5 65000 0", "7 0"})) << "with modes";
}

TEST_F(MegatronDatasets, TheTokenThatEndsADocumentIsItsEnd) {
  EXPECT_EQ(read(index(), tokens_, 0), (Texts{"5 65000", "7"}));
  EXPECT_EQ(read(index(), raw<uint16_t>({5, 0, 0, 0, 0}), 0), (Texts{"5 </s>", "</s>"}));
}

TEST_F(MegatronDatasets, AreToldFromThoseOfFairseqByTheDocuments) {
  EXPECT_TRUE(is_megatron_index(index()));
  const auto fairseq = index().substr(0, 26) + index().substr(34, 36);
  EXPECT_FALSE(is_megatron_index(fairseq));
  expect_error([&] { read(fairseq, tokens_); }, {"x.idx", "fairseq", "train on its folder"});
  EXPECT_FALSE(is_megatron_index(""));
  EXPECT_FALSE(is_megatron_index(index().substr(0, index().size() - 1)));
}

TEST_F(MegatronDatasets, WhatIsDamagedIsRefused) {
  expect_error([&] { read("", tokens_); }, {"x.idx", "MMIDIDX"});
  for (size_t size = 9; size < index().size(); ++size)
    expect_error([&] { read(index().substr(0, size), tokens_); }, {"x.idx"});
  expect_error([&] { read(index(), tokens_.substr(1)); }, {"x.bin", "9 bytes", "5 tokens"});
  expect_error([&] { read(index(), tokens_ + "a"); }, {"x.bin"});
  expect_error(
      [&] {
        read(index(3), raw<int16_t>({5, 1, 2, 7, -536}));
      },
      {"x.bin", "token 2 of document 2 is -536", "make it again"});
  expect_error([&] { read(index(6, 8), tokens_); }, {"type 6", "integers"});
  expect_error([&] { read(index(4, 2), tokens_); }, {"sequence 2 has", "byte 6", "byte 12"});
  const auto changed = [](size_t at, char value) {
    auto bytes = index();
    bytes[at] = value;
    return bytes;
  };
  expect_error([&] { read(changed(9, 2), tokens_); }, {"version 2"});
  expect_error([&] { read(changed(37, '\x80'), tokens_); }, {"sequence 1 has"});
  expect_error([&] { read(changed(34 + 36, 1), tokens_); }, {"document 1 begins after 1 of its 3"});
  expect_error([&] { read(changed(34 + 36 + 8, 4), tokens_); },
               {"document 2 begins after 4 of its 3"});
  expect_error([&] { read(changed(34 + 36 + 16, 2), tokens_); },
               {"the last document ends after 2 of its 3"});
  std::filesystem::remove(folder_ / "x.bin");
  expect_error([&] { open_megatron(folder_ / "x.idx", {}); }, {"x.bin", "cannot open"});
}

/// Bytes of mapped files that are in this process's memory.
int64_t mapped_bytes() {
  int64_t kilobytes = 0;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t value = 0;
    if ((word == "RssFile:" || word == "RssShmem:") && status >> value) kilobytes += value;
  }
  return kilobytes << 10;
}

TEST_F(MegatronDatasets, AreForgottenBehindWhatWasRead) {
  constexpr int64_t kDocuments = 1024, kTokens = 32 << 10;  // 256 MiB, of zeros
  const std::vector<int32_t> lengths(kDocuments, kTokens);
  std::vector<int64_t> positions, documents;
  for (int64_t i = 0; i <= kDocuments; ++i) {
    positions.push_back(i * kTokens * 8);
    documents.push_back(i);
  }
  positions.pop_back();
  const auto append = [](const auto& values) {
    return std::string(reinterpret_cast<const char*>(values.data()),
                       values.size() * sizeof(values[0]));
  };
  testing::write_text(folder_ / "x.idx",
                      std::string("MMIDIDX\0\0", 9) + raw<int64_t>({1}) + raw<uint8_t>({5}) +
                          raw<int64_t>({kDocuments, kDocuments + 1}) + append(lengths) +
                          append(positions) + append(documents));
  testing::write_text(folder_ / "x.bin", "");
  std::filesystem::resize_file(folder_ / "x.bin", kDocuments * kTokens * 8);
  const auto reader = open_megatron(folder_ / "x.idx", std::nullopt);
  const auto before = mapped_bytes();
  int64_t most = 0, read = 0;
  for (DocumentPiece piece; reader->next(piece);) {
    most = std::max(most, mapped_bytes() - before);
    read += static_cast<int64_t>(piece.ends.size());
  }
  EXPECT_EQ(read, kDocuments);
  EXPECT_LT(most, 128 << 20);
}

}  // namespace
}  // namespace evomoe
