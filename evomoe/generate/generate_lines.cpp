#include "evomoe/generate/generate_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace evomoe {
namespace {

/// In single precision, as fairseq's tensors are divided.
float binary(float score) { return score / static_cast<float>(std::log(2.0)); }

/// A text in which an end of line, which a byte-level BPE may make, is a space: each record of the
/// output is one line, which `evomoe score` and others read.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

std::string hypothesis_lines(int64_t id, const HypothesisText& hypothesis) {
  const auto score = python_number(binary(hypothesis.score));
  auto lines = fmt::format("H-{0}\t{1}\t{2}\nD-{0}\t{1}\t{3}\nP-{0}\t", id, score,
                           hypothesis.symbols, one_line(hypothesis.text));
  for (size_t i = 0; i < hypothesis.positional_score.size(); ++i)
    lines += fmt::format("{}{:.4f}", i == 0 ? "" : " ", binary(hypothesis.positional_score[i]));
  return lines + "\n";
}

}  // namespace

std::string generate_lines(const SentenceText& sentence) {
  auto lines = fmt::format("S-{}\t{}\n", sentence.id, one_line(sentence.source));
  if (sentence.target) lines += fmt::format("T-{}\t{}\n", sentence.id, one_line(*sentence.target));
  for (const auto& hypothesis : sentence.hypotheses)
    lines += hypothesis_lines(sentence.id, hypothesis);
  return lines;
}

std::string interactive_lines(const SentenceText& sentence, double seconds) {
  auto lines =
      fmt::format("S-{0}\t{1}\nW-{0}\t{2:.3f}\tseconds\n", sentence.id, sentence.source, seconds);
  for (const auto& hypothesis : sentence.hypotheses)
    lines += hypothesis_lines(sentence.id, hypothesis);
  return lines;
}

std::string translated_line(int64_t sentences, int64_t tokens, double seconds) {
  const auto rate = [&](int64_t count) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
  };
  return fmt::format(
      "Translated {} sentences ({} tokens) in {:.1f}s ({:.2f} sentences/s, {:.2f} tokens/s)",
      sentences, tokens, seconds, rate(sentences), rate(tokens));
}

std::string python_number(double value) {
  auto text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

}  // namespace evomoe
