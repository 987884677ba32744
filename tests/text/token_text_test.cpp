#include "evomoe/text/token_text.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

TEST(SymbolText, LeavesOutWhatIsNoText) {
  Dictionary dictionary;
  const auto hund = dictionary.add("Hun@@"), d = dictionary.add("d");
  const std::vector<int64_t> tokens = {1, 1, 0, hund, d, 3, 2};
  EXPECT_EQ(symbol_text(dictionary, tokens, std::nullopt), "Hun@@ d <unk>");
  EXPECT_EQ(symbol_text(dictionary, tokens, "subword_nmt"), "Hund <unk>");
  EXPECT_EQ(symbol_text(dictionary, tokens, "@@ ", "<<unk>>"), "Hund <<unk>>");
}

TEST(JoinSubwords, KnowsTheReferencesMarks) {
  EXPECT_EQ(join_subwords("a Hun@@ d be@@", "subword_nmt"), "a Hund be");
  EXPECT_EQ(join_subwords("a Hun@@ d", "@@"), "a Hun d");
  EXPECT_EQ(join_subwords("▁ein ▁Hu nd", "sentencepiece"), "ein Hund");
  EXPECT_EQ(join_subwords("_ein _Hu nd", "wordpiece"), "ein Hund");
  EXPECT_EQ(join_subwords("e i n | H u n d |", "letter"), "ein Hund");
  EXPECT_EQ(join_subwords("ein_EOW Hu nd_EOW", "_EOW"), "ein Hund");
  EXPECT_EQ(join_subwords("ein <SIL> Hund <SIL>", "silence"), "ein Hund");
  EXPECT_EQ(join_subwords("ein Hun@@ d", "none"), "ein Hun@@ d");
  EXPECT_THROW(join_subwords("a", "bert"), UsageError);
}

TEST(DecodedText, IsTheSymbolsWhereThereIsNoBpe) {
  EXPECT_EQ(decoded_text(nullptr, "ein Hund"), "ein Hund");
}

}  // namespace
}  // namespace evomoe
