#include "evomoe/text/token_text.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/unicode.h"

namespace evomoe {
std::string symbol_text(const Dictionary& dictionary, const std::vector<int64_t>& tokens,
                        const std::optional<std::string>& post_process, std::string_view unknown) {
  std::string text;
  bool first = true;
  for (const auto token : tokens) {
    if (token == Dictionary::kBos || token == Dictionary::kEos || token == Dictionary::kPad)
      continue;
    if (!first) text += ' ';
    first = false;
    text += token == Dictionary::kUnk ? unknown : dictionary.symbol(token);
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

std::string decoded_text(const ByteBpe* bpe, const std::string& symbols) {
  if (bpe == nullptr) return symbols;
  std::vector<int32_t> ids;
  for_each_word(symbols, [&](std::string_view word) {
    if (const auto id = bpe_token_of(word)) ids.push_back(*id);
  });
  return valid_utf8(bpe->decode(ids));
}

}  // namespace evomoe
