#include "evomoe/text/word_joiner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace evomoe {

bool operator==(const ScoredWord& a, const ScoredWord& b) {
  return a.text == b.text && a.log_probability == b.log_probability;
}
void PrintTo(const ScoredWord& word, std::ostream* stream) {
  *stream << word.text << " " << word.log_probability;
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(WordJoiner, JoinsTheTokensOfAWordAndGivesBlanksToWhatFollows) {
  WordJoiner joiner;
  joiner.add("   ", -1);
  joiner.add(" de", -2);
  joiner.add("f", -4);
  joiner.add(" main", -8);
  joiner.add("(", -16);
  joiner.add(" ", -32);
  EXPECT_THAT(joiner.end_line(-64), ElementsAre(ScoredWord{"def", -7}, ScoredWord{"main(", -24},
                                                ScoredWord{"</s>", -96}));
  EXPECT_TRUE(joiner.at_line_start());
  EXPECT_THAT(joiner.end_line(-1), ElementsAre(ScoredWord{"</s>", -1}));
}

TEST(WordJoiner, KnowsWhiteSpaceAndCharactersThatTokensCut) {
  WordJoiner joiner;
  joiner.add("caf\xC3", -1);
  joiner.add("\xA9", -2);
  joiner.add("", -4);  // a token without text, <unk>
  joiner.add("\xC2\xA0x\xFF", -8);
  EXPECT_THAT(joiner.end_line(0),
              ElementsAre(ScoredWord{"café", -7}, ScoredWord{"x\xFF", -8}, ScoredWord{"</s>", 0}));
}

TEST(WordJoiner, GivesTheWordsOfALastLineWithoutEnd) {
  WordJoiner joiner;
  joiner.add("a b", -1);
  joiner.add(" ", -2);
  EXPECT_THAT(joiner.finish(), ElementsAre(ScoredWord{"a", 0}, ScoredWord{"b", -3}));
  joiner.add(" ", -2);
  EXPECT_THAT(joiner.finish(), IsEmpty());
}

}  // namespace
}  // namespace evomoe
