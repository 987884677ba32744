#include "evomoe/data/indexed_dataset.h"

#include <gtest/gtest.h>

#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::read_text;
using testing::TemporaryFolder;
using testing::write_text;

void write_corpus(const std::filesystem::path& prefix, const std::vector<Ids>& items,
                  int64_t vocabulary = 100) {
  IndexedBuilder builder(prefix, vocabulary);
  for (const auto& item : items) builder.add(item);
  builder.finish();
}

const std::vector<Ids> kItems = {{5, 6, 7, 2}, {8, 2}, {}, {9, 2}};

TEST(IndexedDataset, FindsItemsAndPositions) {
  const TemporaryFolder folder;
  write_corpus(folder / "train", kItems);
  const auto corpus = open_indexed(folder / "train");
  EXPECT_EQ(corpus->items(), 4);
  EXPECT_EQ(corpus->tokens(), 8);
  EXPECT_EQ(corpus->item(1), (Ids{8, 2}));
  EXPECT_EQ(corpus->item_at(3), 0);
  EXPECT_EQ(corpus->item_at(4), 1);
  EXPECT_EQ(corpus->item_at(6), 3);  // the empty item holds no position
  expect_error([&] { corpus->item(4); }, {"train", "4 items"});
}

TEST(IndexedDataset, ChoosesTheElementTypeByTheVocabulary) {
  EXPECT_EQ(token_type_for(65499), TokenType::kUint16);
  EXPECT_EQ(token_type_for(65500), TokenType::kUint32);
  EXPECT_EQ(token_type_for(0), TokenType::kUint32);
  EXPECT_EQ(token_type_for(int64_t{1} << 32), TokenType::kInt64);
  const TemporaryFolder folder;
  for (const int64_t vocabulary : {int64_t{100}, int64_t{70000}, int64_t{1} << 33}) {
    write_corpus(folder / "train", kItems, vocabulary);
    EXPECT_EQ(open_indexed(folder / "train")->item(0), kItems[0]);
  }
  IndexedBuilder small(folder / "small", 100);
  expect_error([&] { small.add(Ids{70000}); }, {"70000", "2 bytes"});
}

TEST(IndexedDataset, LeavesNothingBehindWithoutFinish) {
  const TemporaryFolder folder;
  {
    IndexedBuilder builder(folder / "train", 100);
    builder.add(kItems[0]);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  expect_error([&] { IndexedBuilder builder(folder / "no" / "such", 100); },
               {"no/such", "cannot write"});
}

TEST(IndexedDataset, NamesEachKindOfDamage) {
  const TemporaryFolder folder;
  write_corpus(folder / "good", kItems);
  const auto idx = read_text(folder / "good.idx");
  const auto bin = read_text(folder / "good.bin");
  const auto damaged = [&](const std::string& new_idx, const std::string& new_bin) {
    write_text(folder / "bad.idx", new_idx);
    write_text(folder / "bad.bin", new_bin);
    return [&] { open_indexed(folder / "bad"); };
  };
  const auto changed = [&](size_t at, char value) {
    auto bytes = idx;
    bytes[at] = value;
    return bytes;
  };
  expect_error([&] { open_indexed(folder / "none"); }, {"none.idx", "cannot open"});
  expect_error(damaged("", bin), {"bad.idx", "empty", "evomoe preprocess"});
  expect_error(damaged("hello, this is a text", bin), {"bad.idx", "MMIDIDX"});
  expect_error(damaged(idx.substr(0, 20), bin), {"bad.idx", "header"});
  expect_error(damaged(changed(9, 2), bin), {"version 2"});
  expect_error(damaged(changed(17, 6), bin), {"element type 6"});
  expect_error(damaged(changed(18, 5), bin), {"5 items"});
  expect_error(damaged(changed(25, 127), bin), {"bad.idx"});
  expect_error(damaged(idx.substr(0, idx.size() - 1), bin), {"bad.idx", "cut"});
  expect_error(damaged(idx + "x", bin), {"bad.idx"});
  expect_error(damaged(changed(26, 3), bin), {"item 1", "damaged"});
  expect_error(damaged(changed(29, -1), bin), {"item 0", "damaged"});
  expect_error(damaged(changed(idx.size() - 8, 1), bin), {"item 3", "damaged"});
  expect_error(damaged(idx, bin.substr(2)), {"bad.bin", "cut"});
  expect_error(damaged(idx, bin + "xx"), {"bad.bin"});
  expect_error(damaged(idx, ""), {"bad.bin"});
}

TEST(IndexedDataset, EveryCutAndEveryChangedByteOfALegacyIndexIsAnErrorOrHarmless) {
  const auto golden = testing::read_json(testing::golden_dir() / "data.json")["legacy_indexed"];
  const auto bytes_of = [](const std::string& hex) {
    std::string bytes;
    for (size_t i = 0; i < hex.size(); i += 2)
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    return bytes;
  };
  const TemporaryFolder folder;
  const auto idx = bytes_of(golden["idx_hex"]);
  write_text(folder / "bad.bin", bytes_of(golden["bin_hex"]));
  for (size_t i = 0; i < idx.size(); ++i) {
    write_text(folder / "bad.idx", idx.substr(0, i));
    EXPECT_THROW(open_indexed(folder / "bad"), Error) << i;
    auto bytes = idx;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x81);
    write_text(folder / "bad.idx", bytes);
    EXPECT_THROW(open_indexed(folder / "bad"), Error) << i;
  }
}

TEST(IndexedDataset, ReadsRawTextWithTheDictionary) {
  const TemporaryFolder folder;
  Dictionary dictionary;
  dictionary.add("a");
  write_text(folder / "train", "a b\n\na\n");
  const auto corpus = open_tokens(folder / "train", dictionary);
  EXPECT_EQ(corpus->items(), 3);
  EXPECT_EQ(corpus->item(0), (Ids{4, 3, 2}));
  EXPECT_EQ(corpus->item(1), Ids{2});
  write_text(folder / "empty", "");
  expect_error([&] { open_raw_text(folder / "empty", dictionary); }, {"empty"});
}

TEST(ConcatenatedStream, ReadsAcrossItsParts) {
  const auto one = std::make_shared<MemoryStream>(std::vector<Ids>{{4, 2}, {5, 2}}, "train");
  const auto two = std::make_shared<MemoryStream>(std::vector<Ids>{{6, 7, 2}}, "train1");
  const ConcatenatedStream both({one, two});
  EXPECT_EQ(both.items(), 3);
  EXPECT_EQ(both.tokens(), 7);
  EXPECT_EQ(both.item(2), (Ids{6, 7, 2}));
  Ids middle(4);
  both.read(2, middle);
  EXPECT_EQ(middle, (Ids{5, 2, 6, 7}));
  EXPECT_EQ(both.item_at(4), 2);
}

}  // namespace
}  // namespace evomoe
