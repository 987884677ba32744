#include "evomoe/generate/generate_lines.h"

#include <gtest/gtest.h>

#include <cmath>

namespace evomoe {
namespace {

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

TEST(GenerateLines, ATextWithEndsOfLinesIsOneLine) {
  auto sentence = example();
  sentence.source = "a\rb";
  sentence.target = "a\nb";
  sentence.hypotheses = {{"1 2", "x\r\ny\n", 0, {0}}};
  EXPECT_EQ(generate_lines(sentence),
            "S-12\ta b\nT-12\ta b\nH-12\t0.0\t1 2\nD-12\t0.0\tx  y \nP-12\t0.0000\n");
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

}  // namespace
}  // namespace evomoe
