#include "evomoe/data/dictionary.h"

#include <gtest/gtest.h>

#include "tests/data/expect_error.h"
#include "tests/testing/paths.h"

namespace evomoe {
namespace {

using Ids = std::vector<int64_t>;
using testing::TemporaryFolder;
using testing::write_text;

TEST(Dictionary, BeginsWithTheFourSpecials) {
  const Dictionary dictionary;
  EXPECT_EQ(dictionary.size(), 4);
  EXPECT_EQ(dictionary.symbol(Dictionary::kPad), "<pad>");
  EXPECT_EQ(dictionary.index("</s>"), Dictionary::kEos);
  EXPECT_EQ(dictionary.index("unheard-of"), Dictionary::kUnk);
}

TEST(Dictionary, SortsByCountThenByBytesCutsAndPads) {
  Dictionary dictionary;
  for (const auto& [symbol, count] : {std::pair{"b", 3}, {"a", 3}, {"é", 3}, {"c", 9}, {"d", 1}}) {
    dictionary.add(symbol, count);
  }
  auto all = dictionary;
  all.finalize(0, -1, 8);
  EXPECT_EQ(all.size(), 16);
  EXPECT_EQ(all.symbol(4), "c");
  EXPECT_EQ(all.symbol(5), "a");
  EXPECT_EQ(all.symbol(7), "é");
  EXPECT_EQ(all.symbol(9), "madeupword0000");
  auto frequent = dictionary;
  frequent.finalize(2, -1, 1);
  EXPECT_EQ(frequent.size(), 8);
  auto few = dictionary;
  few.finalize(0, 6, 1);  // the specials count
  EXPECT_EQ(few.size(), 6);
  EXPECT_EQ(few.index("b"), Dictionary::kUnk);
}

TEST(Dictionary, ComesBackFromItsFile) {
  const TemporaryFolder folder;
  Dictionary dictionary;
  dictionary.add("the", 12);
  dictionary.add("naïve", 3);
  dictionary.save(folder / "dict.txt");
  EXPECT_EQ(testing::read_text(folder / "dict.txt"), "the 12\nnaïve 3\n");
  const auto loaded = Dictionary::load(folder / "dict.txt");
  EXPECT_EQ(loaded.size(), 6);
  EXPECT_EQ(loaded.index("naïve"), 5);
  EXPECT_EQ(loaded.count(4), 12);
}

TEST(Dictionary, NamesTheLineOfABadFile) {
  const TemporaryFolder folder;
  const auto file = folder / "dict.txt";
  expect_error([&] { Dictionary::load(file); }, {file.string(), "cannot open"});
  write_text(file, "");
  expect_error([&] { Dictionary::load(file); }, {file.string(), "no symbol"});
  write_text(file, "a 1\nb\n");
  expect_error([&] { Dictionary::load(file); }, {file.string() + ":2", "symbol count"});
  write_text(file, "a 1\nb x\n");
  expect_error([&] { Dictionary::load(file); }, {":2"});
  write_text(file, "a 1\n\xFF 2\n");
  expect_error([&] { Dictionary::load(file); }, {":2", "UTF-8"});
  write_text(file, "a 1\nb 1\na 2\n");
  expect_error([&] { Dictionary::load(file); }, {":3", "`a`", "#fairseq:overwrite"});
}

TEST(Dictionary, LetsAnOverwriteTakeThePlaceOfAnEarlierSymbol) {
  const TemporaryFolder folder;
  write_text(folder / "dict.txt", "a 1\nb 1\n<unk> 5 #fairseq:overwrite\na 2 #fairseq:overwrite\n");
  const auto dictionary = Dictionary::load(folder / "dict.txt");
  EXPECT_EQ(dictionary.size(), 8);
  EXPECT_EQ(dictionary.index("a"), 7);
  EXPECT_EQ(dictionary.index("<unk>"), 6);
}

TEST(Dictionary, SplitsLinesAtUnicodeWhiteSpaceAndCountsUnknownWords) {
  Dictionary dictionary;
  dictionary.add("a");
  dictionary.add("b");
  int64_t replaced = 0;
  EXPECT_EQ(dictionary.encode_line("  a\t\xC2\xA0"
                                   "b\xE3\x80\x80 x <unk>\r",
                                   true, &replaced),
            (Ids{4, 5, 3, 3, 2}));
  EXPECT_EQ(replaced, 1);  // <unk> in the text is not replaced
  EXPECT_EQ(dictionary.encode_line(""), Ids{2});
  EXPECT_EQ(dictionary.encode_line("a", false), Ids{4});
}

TEST(Dictionary, JoinsSymbolsWithoutTheEndsOfSentences) {
  Dictionary dictionary;
  dictionary.add("a");
  EXPECT_EQ(dictionary.string({0, 4, 3, 4, 2}), "a <unk> a");
  expect_error([&] { dictionary.string({5}); }, {"token 5", "5 symbols"});
}

}  // namespace
}  // namespace evomoe
