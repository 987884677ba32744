#include "evomoe/score/bleu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/score/bleu_words.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Pairs = std::vector<std::pair<std::string, std::string>>;

/// Systems and references; the expected lines are those of sacreBLEU 2.4.3.
const Pairs& pairs() {
  static const Pairs all = {
      {"The dog bit the man.", "The dog had bit the man."},
      {"It wasn't surprising.", "It was not unexpected."},
      {"The man had just bitten him, in 1,000.50 cases - or 3-4 of 5%!",
       "The man bit him first; in 1,000.50 cases (or 3-4 of 5 %)."},
      {"&quot;Café&quot; costs 5€—not 6€, he said.", "\"Café\" costs 5 € — not 6 €, she said."},
      {"你好，世界。 GRÖSSE", "你好世界。 grösse"},
      {"a-b c.d x., 7. 8,9 $5.00/kg", "a-b c . d x . , 7 . 8,9 $ 5.00 / kg"},
  };
  return all;
}

TextBleu scored(const Pairs& of, const std::string& tokenizer, bool lowercase = false) {
  TextBleu bleu({.tokenize = tokenizer, .lowercase = lowercase});
  for (const auto& [system, reference] : of) bleu.add(reference, system);
  return bleu;
}

TEST(TextBleu, IsSacreBleusForEachTokenizerAndCase) {
  const auto line = [](const std::string& tokenizer, bool lowercase) {
    return scored(pairs(), tokenizer, lowercase).result_line();
  };
  EXPECT_EQ(
      line("13a", false),
      "BLEU = 51.28 76.4/61.2/51.2/44.7 (BP = 0.897 ratio = 0.902 hyp_len = 55 ref_len = 61)");
  EXPECT_EQ(
      line("13a", true),
      "BLEU = 51.59 78.2/61.2/51.2/44.7 (BP = 0.897 ratio = 0.902 hyp_len = 55 ref_len = 61)");
  EXPECT_EQ(line("none", false),
            "BLEU = 8.69 47.2/23.3/8.3/2.6 (BP = 0.697 ratio = 0.735 hyp_len = 36 ref_len = 49)");
  EXPECT_EQ(line("none", true),
            "BLEU = 8.81 50.0/23.3/8.3/2.6 (BP = 0.697 ratio = 0.735 hyp_len = 36 ref_len = 49)");
  EXPECT_EQ(
      line("intl", false),
      "BLEU = 52.14 69.1/54.8/46.4/42.0 (BP = 1.000 ratio = 1.097 hyp_len = 68 ref_len = 62)");
  EXPECT_EQ(
      line("intl", true),
      "BLEU = 52.80 70.6/56.5/46.4/42.0 (BP = 1.000 ratio = 1.097 hyp_len = 68 ref_len = 62)");
  EXPECT_EQ(
      line("char", false),
      "BLEU = 61.38 75.5/65.1/57.3/50.4 (BP = 1.000 ratio = 1.076 hyp_len = 155 ref_len = 144)");
  EXPECT_EQ(
      line("char", true),
      "BLEU = 65.57 79.4/69.1/61.5/54.7 (BP = 1.000 ratio = 1.076 hyp_len = 155 ref_len = 144)");
}

TEST(TextBleu, OfFewWordsIsSacreBleus) {
  const auto line = [](const std::string& system, const std::string& reference) {
    return scored({{system, reference}}, "none").result_line();
  };
  EXPECT_EQ(line("a b c", "a b d"),
            "BLEU = 0.00 66.7/50.0/50.0/0.0 (BP = 1.000 ratio = 1.000 hyp_len = 3 ref_len = 3)");
  EXPECT_EQ(line("x", "y"),
            "BLEU = 0.00 0.0/0.0/0.0/0.0 (BP = 1.000 ratio = 1.000 hyp_len = 1 ref_len = 1)");
  EXPECT_EQ(line("a b c d e", "a b c d e"),
            "BLEU = 100.00 100.0/100.0/100.0/100.0 (BP = 1.000 ratio = 1.000 hyp_len = 5 ref_len = "
            "5)");
  EXPECT_EQ(line("the cat", "the cat sat on the mat"),
            "BLEU = 0.00 100.0/100.0/0.0/0.0 (BP = 0.135 ratio = 0.333 hyp_len = 2 ref_len = 6)");
  EXPECT_EQ(line("", "a b"),
            "BLEU = 0.00 0.0/0.0/0.0/0.0 (BP = 0.000 ratio = 0.000 hyp_len = 0 ref_len = 2)");
}

TEST(TextBleu, TheSignatureSaysWhatWasCounted) {
  EXPECT_EQ(scored({}, "13a").signature(),
            "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:evomoe");
  EXPECT_EQ(scored({}, "char", true).signature(),
            "nrefs:1|case:lc|eff:no|tok:char|smooth:exp|version:evomoe");
}

TEST(TextBleu, RefusesATokenizerThatIsNotThere) {
  try {
    TextBleu({.tokenize = "zh"});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("zh"));
    EXPECT_THAT(error.what(), HasSubstr("intl"));
  }
}

TEST(BleuWords, SplitAsMteval) {
  const auto joined = [](const std::string& line, const std::string& tokenizer) {
    std::string text;
    for (const auto& word : bleu_words(line, tokenizer)) text += (text.empty() ? "" : " ") + word;
    return text;
  };
  EXPECT_EQ(joined(pairs()[2].first, "13a"),
            "The man had just bitten him , in 1,000.50 cases - or 3 - 4 of 5 % !");
  EXPECT_EQ(joined(pairs()[3].first, "13a"), "\" Café \" costs 5€—not 6€ , he said .");
  EXPECT_EQ(joined(pairs()[5].first, "13a"), "a-b c . d x . , 7 . 8,9 $ 5.00 / kg");
  EXPECT_EQ(joined(pairs()[3].first, "intl"),
            "& quot ; Café & quot ; costs 5 € — not 6 € , he said .");
  EXPECT_EQ(joined(pairs()[4].first, "intl"), "你好 ， 世界 。 GRÖSSE");
  EXPECT_EQ(joined("a é\n", "char"), "a é");
  EXPECT_THROW(bleu_words("\xFF.", "intl"), Error);
}

std::vector<int64_t> ids(Dictionary& dictionary, const std::string& line) {
  std::vector<int64_t> result;
  for (const auto& word : bleu_words(line, "13a")) result.push_back(dictionary.add(word));
  result.push_back(Dictionary::kEos);
  return result;
}

TEST(TextBleu, HeedsNoCaseAsPythonDoes) {
  TextBleu bleu({.tokenize = "13a", .lowercase = true});
  bleu.add("ὀδυσσεύς istanbul straße ﬁne", "ὈΔΥΣΣΕΎΣ ISTANBUL STRAßE ﬁNE");
  bleu.add("i\u0307stanbul ας ασ", "İSTANBUL ΑΣ ασ");
  EXPECT_THAT(bleu.result_line(), HasSubstr("BLEU = 100.00"));
}

TEST(TokenBleu, OfTokenizedTextIsFairseqsLine) {
  Dictionary dictionary;
  TokenBleu bleu({});
  for (const auto& [system, reference] : pairs())
    bleu.add(ids(dictionary, reference), ids(dictionary, system));
  // The same n-grams as sacreBLEU's, none of which needs smoothing.
  EXPECT_EQ(bleu.result_line(),
            "BLEU4 = 51.28, 76.4/61.2/51.2/44.7 (BP=0.897, ratio=0.902, syslen=55, reflen=61)");
  EXPECT_EQ(bleu.result_line(2),
            "BLEU2 = 61.31, 76.4/61.2 (BP=0.897, ratio=0.902, syslen=55, reflen=61)");
  EXPECT_THROW(bleu.result_line(5), UsageError);
}

TEST(TokenBleu, PaddingAndEndsDoNotCountButForOneTokenOfAnEmptySentence) {
  TokenBleu bleu({});
  bleu.add({1, 1, 10, 11, 12, 2}, {10, 11, 12, 2, 1, 1});
  EXPECT_EQ(bleu.counts().reference_length, 3);
  EXPECT_EQ(bleu.counts().system_length, 3);
  EXPECT_THAT(bleu.counts().matched, ElementsAre(3, 2, 1, 0));
  bleu.add({2}, {10, 2});
  EXPECT_EQ(bleu.counts().reference_length, 4);
  EXPECT_EQ(bleu.counts().system_length, 4);
  EXPECT_EQ(bleu.score(), 0);
}

TEST(TokenBleu, AnUnknownTokenOfTheReferenceMatchesNothing) {
  TokenBleu bleu({});
  bleu.add({10, 3, 11, 2}, {10, 3, 11, 2});
  EXPECT_THAT(bleu.counts().matched, ElementsAre(2, 0, 0, 0));
}

TEST(TokenBleu, AnNGramMatchesAsOftenAsTheReferenceHasIt) {
  TokenBleu bleu({});
  bleu.add({10, 11, 10, 2}, {10, 10, 10, 10, 2});
  EXPECT_THAT(bleu.counts().matched, ElementsAre(2, 0, 0, 0));
  EXPECT_THAT(bleu.counts().total, ElementsAre(4, 3, 2, 1));
}

TEST(TokenBleu, OfOneSentenceIsSmoothedByOneMatchOfTwoAndMoreWords) {
  TokenBleu bleu({});
  bleu.reset(/*smooth=*/true);
  bleu.add({10, 11, 12, 2}, {10, 11, 13, 2});
  // 2/3, (1+1)/(2+1), (0+1)/(1+1), 1/1: the fourth root of 2/9 = .6866
  EXPECT_EQ(bleu.result_line(),
            "BLEU4 = 68.66, 66.7/66.7/50.0/100.0 (BP=1.000, ratio=1.000, syslen=3, reflen=3)");
}

TEST(TokenBleu, OfNothingIsAnError) { EXPECT_THROW(TokenBleu({}).result_line(), Error); }

}  // namespace
}  // namespace evomoe
