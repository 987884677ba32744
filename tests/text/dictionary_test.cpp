#include "evomoe/text/dictionary.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "evomoe/text/text_tokens.h"
#include "tests/testing/expect_error.h"
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

TEST(Dictionary, ReadsTheCountsThatPythonReads) {
  const TemporaryFolder folder;
  write_text(folder / "dict.txt",
             "a -3\nb +1_000\n\u2581c \u0663\nd \t7\ne 99999999999999999999 \r\n");
  const auto dictionary = Dictionary::load(folder / "dict.txt");
  EXPECT_EQ(dictionary.count(4), -3);
  EXPECT_EQ(dictionary.count(5), 1000);
  EXPECT_EQ(dictionary.count(6), 3);
  EXPECT_EQ(dictionary.count(7), 7);
  EXPECT_EQ(dictionary.count(8), std::numeric_limits<int64_t>::max());
  for (const auto* line : {"a -3.5", "a 1e3", "a _1", "a", "5", "a 1  #fairseq:overwrite"}) {
    write_text(folder / "dict.txt", line);
    expect_error([&] { Dictionary::load(folder / "dict.txt"); }, {":1", "symbol count"});
  }
}

TEST(Dictionary, WhateverIsReadIsWrittenSoThatItIsReadBack) {
  const TemporaryFolder folder;
  std::mt19937 random(3);
  const std::vector<std::string> symbols = {"a",
                                            "b",
                                            "",
                                            " ",
                                            "a b",
                                            "<s>",
                                            "</s>",
                                            "<unk>",
                                            "a 5",
                                            "\u00A0",
                                            "\xE2\x80\xA8",
                                            "#fairseq:overwrite",
                                            "a #fairseq:overwrite",
                                            "\t",
                                            std::string(1, '\0')};
  for (int i = 0; i < 500; ++i) {
    std::string text;
    Dictionary seen;
    for (size_t k = 1 + random() % 12; k > 0; --k) {
      const auto& symbol = symbols[random() % symbols.size()];
      const bool overwrite = seen.contains(symbol);
      seen.add(symbol, 1, overwrite);
      text += fmt::format("{} {}{}\n", symbol, static_cast<int>(random() % 9) - 4,
                          overwrite || random() % 4 == 0 ? " #fairseq:overwrite" : "");
    }
    write_text(folder / "one", text);
    const auto first = Dictionary::load(folder / "one");
    first.save(folder / "two");
    const auto second = Dictionary::load(folder / "two");
    ASSERT_EQ(second.size(), first.size()) << text;
    for (int64_t index = 0; index < first.size(); ++index) {
      EXPECT_EQ(second.symbol(index), first.symbol(index)) << text;
      EXPECT_EQ(second.count(index), first.count(index)) << text;
      EXPECT_EQ(second.index(first.symbol(index)), first.index(first.symbol(index))) << text;
    }
  }
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

TEST(Dictionary, SpecialsMayHaveIdsOfATokenizer) {
  const TemporaryFolder folder;
  Dictionary dictionary;
  for (const auto* symbol : {"0", "2", "4", "7"}) dictionary.add(symbol);
  dictionary.set_special_ids({1, 3, 5, 6});
  dictionary.save(folder / "dict.txt");
  const auto loaded = Dictionary::load(folder / "dict.txt");
  EXPECT_EQ(loaded.special_ids(), dictionary.special_ids());
  EXPECT_EQ(loaded.index("5"), Dictionary::kEos);
  // A text has starts and ends by their ids, but no padding; and what it spells is text.
  EXPECT_EQ(text_token("1", loaded), Dictionary::kBos);
  EXPECT_EQ(text_token("5", loaded), Dictionary::kEos);
  EXPECT_EQ(text_token("3", loaded), Dictionary::kUnk);
  EXPECT_EQ(text_token("</s>", loaded), Dictionary::kUnk);
  EXPECT_EQ(text_token("7", loaded), 7);

  EXPECT_EQ(special_ids_file("a/dict.de.txt"), "a/dict.de.ids.json");
  write_text(folder / "dict.ids.json", R"({"<s>": 1, "<pad>": 2})");
  expect_error([&] { Dictionary::load(folder / "dict.txt"); }, {"dict.ids.json", "`</s>`"});
  write_text(folder / "dict.ids.json", R"({"<s>": 1, "<pad>": 2, "</s>": 5, "<unk>": 6})");
  expect_error([&] { Dictionary::load(folder / "dict.txt"); },
               {"dict.ids.json", "2 is the id of `<pad>`, and of token 5, `2`"});
  Dictionary().save(folder / "dict.txt");
  EXPECT_FALSE(std::filesystem::exists(folder / "dict.ids.json"));
}

}  // namespace
}  // namespace evomoe
