#include "evomoe/cli/generate_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::ElementsAre;

const auto kLn2 = static_cast<float>(std::log(2.0));

SentenceText example() {
  SentenceText sentence;
  sentence.id = 12;
  sentence.source = "ein Hund";
  sentence.target = "a dog";
  sentence.hypotheses = {{"a dog", "a dog", -0.5F * kLn2, {-0.25F * kLn2, -0.75F * kLn2}},
                         {"one dog", "one  dog", -2 * kLn2, {-2 * kLn2}}};
  return sentence;
}

TEST(GenerateLines, AreFairseqs) {
  EXPECT_EQ(generate_lines(example()),
            "S-12\tein Hund\n"
            "T-12\ta dog\n"
            "H-12\t-0.5\ta dog\n"
            "D-12\t-0.5\ta dog\n"
            "P-12\t-0.2500 -0.7500\n"
            "H-12\t-2.0\tone dog\n"
            "D-12\t-2.0\tone  dog\n"
            "P-12\t-2.0000\n");
  auto without = example();
  without.target.reset();
  without.hypotheses.clear();
  EXPECT_EQ(generate_lines(without), "S-12\tein Hund\n");
}

TEST(GenerateLines, OfInteractiveHaveTheTimeAndNoTarget) {
  auto sentence = example();
  sentence.hypotheses.pop_back();
  EXPECT_EQ(interactive_lines(sentence, 0.12345),
            "S-12\tein Hund\n"
            "W-12\t0.123\tseconds\n"
            "H-12\t-0.5\ta dog\n"
            "D-12\t-0.5\ta dog\n"
            "P-12\t-0.2500 -0.7500\n");
}

TEST(GenerateLines, TheSummaryIsFairseqs) {
  EXPECT_EQ(translated_line(1000, 13054, 12.34),
            "Translated 1000 sentences (13054 tokens) in 12.3s (81.04 sentences/s, 1057.86 "
            "tokens/s)");
}

TEST(PythonNumber, IsWhatPythonWrites) {
  EXPECT_EQ(python_number(-0.5131191611289978), "-0.5131191611289978");
  EXPECT_EQ(python_number(1), "1.0");
  EXPECT_EQ(python_number(-0.0), "-0.0");
  EXPECT_EQ(python_number(1e-5), "1e-05");
  EXPECT_EQ(python_number(0.0001), "0.0001");
  EXPECT_EQ(python_number(-INFINITY), "-inf");
  // A tensor's float32 is written with the digits of its double.
  EXPECT_EQ(python_number(-0.1F), "-0.10000000149011612");
}

TEST(SymbolText, LeavesOutWhatIsNoText) {
  Dictionary dictionary;
  const auto hund = dictionary.add("Hun@@"), d = dictionary.add("d");
  const std::vector<int64_t> tokens = {1, 1, 0, hund, d, 3, 2};
  EXPECT_EQ(symbol_text(dictionary, tokens, std::nullopt), "Hun@@ d <unk>");
  EXPECT_EQ(symbol_text(dictionary, tokens, "subword_nmt"), "Hund <unk>");
  EXPECT_EQ(symbol_text(dictionary, tokens, "@@ ", /*escape_unknown=*/true), "Hund <<unk>>");
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

TEST(PostProcessValues, MayBeLeftAway) {
  EXPECT_THAT(with_post_process_values({"d", "--remove-bpe"}),
              ElementsAre("d", "--remove-bpe=subword_nmt"));
  EXPECT_THAT(with_post_process_values({"--remove-bpe", "--beam", "3"}),
              ElementsAre("--remove-bpe=subword_nmt", "--beam", "3"));
  EXPECT_THAT(with_post_process_values({"--post_process", "data-bin"}),
              ElementsAre("--post_process=subword_nmt", "data-bin"));
  EXPECT_THAT(with_post_process_values({"--remove-bpe", "sentencepiece", "d"}),
              ElementsAre("--remove-bpe", "sentencepiece", "d"));
  EXPECT_THAT(with_post_process_values({"--remove-bpe=@@ "}), ElementsAre("--remove-bpe=@@ "));
}

}  // namespace
}  // namespace evomoe
