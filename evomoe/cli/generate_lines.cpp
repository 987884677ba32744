#include "evomoe/cli/generate_lines.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/data/text_lines.h"

namespace evomoe {
namespace {

/// In single precision, as fairseq's tensors are divided.
float binary(float score) { return score / static_cast<float>(std::log(2.0)); }

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::string hypothesis_lines(int64_t id, const HypothesisText& hypothesis) {
  const auto score = python_number(binary(hypothesis.score));
  auto lines = fmt::format("H-{0}\t{1}\t{2}\nD-{0}\t{1}\t{3}\nP-{0}\t", id, score,
                           hypothesis.symbols, hypothesis.text);
  for (size_t i = 0; i < hypothesis.positional_score.size(); ++i)
    lines += fmt::format("{}{:.4f}", i == 0 ? "" : " ", binary(hypothesis.positional_score[i]));
  return lines + "\n";
}

const std::vector<std::string>& post_process_names() {
  static const std::vector<std::string> names = {"subword_nmt", "@@ ",    "@@",
                                                 "sentencepiece", "wordpiece", "letter",
                                                 "_EOW",        "silence", "none"};
  return names;
}

}  // namespace

std::string generate_lines(const SentenceText& sentence) {
  auto lines = fmt::format("S-{}\t{}\n", sentence.id, sentence.source);
  if (sentence.target) lines += fmt::format("T-{}\t{}\n", sentence.id, *sentence.target);
  for (const auto& hypothesis : sentence.hypotheses)
    lines += hypothesis_lines(sentence.id, hypothesis);
  return lines;
}

std::string interactive_lines(const SentenceText& sentence, double seconds) {
  auto lines = fmt::format("S-{0}\t{1}\nW-{0}\t{2:.3f}\tseconds\n", sentence.id, sentence.source,
                           seconds);
  for (const auto& hypothesis : sentence.hypotheses)
    lines += hypothesis_lines(sentence.id, hypothesis);
  return lines;
}

std::string translated_line(int64_t sentences, int64_t tokens, double seconds) {
  const auto rate = [&](int64_t count) { return static_cast<double>(count) / seconds; };
  return fmt::format(
      "Translated {} sentences ({} tokens) in {:.1f}s ({:.2f} sentences/s, {:.2f} tokens/s)",
      sentences, tokens, seconds, rate(sentences), rate(tokens));
}

std::string python_number(double value) {
  auto text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string symbol_text(const Dictionary& dictionary, const std::vector<int64_t>& tokens,
                        const std::optional<std::string>& post_process, bool escape_unknown) {
  std::string text;
  bool first = true;
  for (const auto token : tokens) {
    if (token == Dictionary::kBos || token == Dictionary::kEos || token == Dictionary::kPad)
      continue;
    if (!first) text += ' ';
    first = false;
    if (token == Dictionary::kUnk && escape_unknown) {
      text += "<<unk>>";
    } else {
      text += dictionary.symbol(token);
    }
  }
  return post_process ? join_subwords(text, *post_process) : text;
}

std::string join_subwords(std::string_view text, const std::string& how) {
  const auto without_spaces = [&](std::string_view mark) {
    const auto joined = replaced(replaced(std::string(text), " ", ""), mark, " ");
    return std::string(strip(joined));
  };
  if (how == "subword_nmt" || how == "@@ " || how == "@@") {
    const auto joined = replaced(std::string(text) + " ", how == "@@" ? "@@" : "@@ ", "");
    return std::string(strip_end(joined));
  }
  if (how == "sentencepiece") return without_spaces("\u2581");
  if (how == "wordpiece") return without_spaces("_");
  if (how == "letter") return without_spaces("|");
  if (how == "_EOW") return without_spaces("_EOW");
  if (how == "silence") {
    auto joined = replaced(std::string(text), "<SIL>", "");
    joined.erase(std::unique(joined.begin(), joined.end(),
                             [](char a, char b) { return a == ' ' && b == ' '; }),
                 joined.end());
    return std::string(strip(joined));
  }
  if (how == "none") return std::string(text);
  fail_usage(
      "--post-process {}: there are subword_nmt, sentencepiece, wordpiece, letter, _EOW, silence "
      "and none",
      how);
}

std::vector<std::string> with_post_process_values(std::vector<std::string> arguments) {
  const auto& values = post_process_names();
  for (size_t i = 0; i < arguments.size(); ++i) {
    auto name = arguments[i];
    std::replace(name.begin(), name.end(), '_', '-');
    if (name != "--post-process" && name != "--remove-bpe") continue;
    const bool has_value =
        i + 1 < arguments.size() &&
        std::find(values.begin(), values.end(), arguments[i + 1]) != values.end();
    if (!has_value) arguments[i] += "=subword_nmt";
  }
  return arguments;
}

}  // namespace evomoe
