#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// The lines that `generate` and `interactive` write, as fairseq's scripts parse them.
namespace evomoe {

struct HypothesisText {
  std::string symbols;  ///< joined as --post-process says
  std::string text;     ///< the same, decoded by the BPE
  float score = 0;      ///< natural logarithm
  std::vector<float> positional_score;
};

struct SentenceText {
  int64_t id = 0;
  std::string source;
  std::optional<std::string> target;
  std::vector<HypothesisText> hypotheses;  ///< best first
};

/// `S-id\ttext`, `T-id\ttext` if there is a target, and for each hypothesis `H-id\tscore\ttext`,
/// `D-id\tscore\ttext` and `P-id\tscores`. Scores are binary logarithms, written as Python does.
std::string generate_lines(const SentenceText& sentence);

/// The same for `interactive`: behind the source `W-id\tseconds\tseconds`, and no target.
std::string interactive_lines(const SentenceText& sentence, double seconds);

/// `Translated 100 sentences (2 tokens) in 1.0s (100.00 sentences/s, 2.00 tokens/s)`.
std::string translated_line(int64_t sentences, int64_t tokens, double seconds);

/// The shortest text that reads back to `value`, as Python's repr(): -0.5, 1.0, 1e-05, inf.
std::string python_number(double value);

}  // namespace evomoe
