#include "evomoe/score/moses_detokenizer.h"

#include <map>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/unicode_pattern.h"

namespace evomoe {
namespace {

/// The tokenizer's names of characters that mean something in Moses' files, in the order in which
/// they are undone. Those of before 2012 (bar, bra, ket) too.
constexpr std::pair<std::string_view, std::string_view> kEscapes[] = {
    {"&bar;", "|"}, {"&#124;", "|"}, {"&lt;", "<"},    {"&gt;", ">"},
    {"&bra;", "["}, {"&ket;", "]"},  {"&quot;", "\""}, {"&apos;", "'"},
    {"&#91;", "["}, {"&#93;", "]"},  {"&amp;", "&"}};

/// Chinese, Japanese and Korean characters, from the first to the last of each range.
constexpr std::pair<uint32_t, uint32_t> kCjk[] = {
    {0x1100, 0x11FF},   {0x2E80, 0xA4CF},   {0xA840, 0xA87F},   {0xAC00, 0xD7AF},
    {0xF900, 0xFAFF},   {0xFE30, 0xFE4F},   {0xFF65, 0xFFDC},   {0x16FE0, 0x16FFF},
    {0x17000, 0x18AFF}, {0x1B000, 0x1B12F}, {0x1B170, 0x1B2FF}, {0x20000, 0x2FFFF}};

bool is_cjk(std::string_view text, size_t at) {
  uint32_t code = 0;
  if (utf8_character(text, at, code) == 0) return false;
  for (const auto& [first, last] : kCjk) {
    if (code >= first && code <= last) return true;
  }
  return false;
}

bool begins_cjk(const std::string& word) { return is_cjk(word, 0); }

bool ends_cjk(const std::string& word) {
  size_t at = word.size() - 1;
  while (at > 0 && (word[at] & 0xC0) == 0x80) --at;
  return is_cjk(word, at);
}

std::vector<std::string> words_of(std::string_view line) {
  std::string text = " ";
  for_each_word(line, [&](std::string_view word) { text.append(word).append(" "); });
  text = replaced(std::move(text), " @-@ ", "-");
  for (const auto& [name, character] : kEscapes) text = replaced(std::move(text), name, character);
  std::vector<std::string> words;
  for_each_word(text, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

}  // namespace

MosesDetokenizer::MosesDetokenizer(std::string language) : language_(std::move(language)) {
  if (language_ == "cs" || language_ == "fi") {
    fail_usage(
        "--eval-bleu-detok moses: the rules of '{}' are not there; use --eval-bleu-detok space "
        "with --eval-tokenized-bleu, or another target_lang in --eval-bleu-detok-args",
        language_);
  }
}

std::string MosesDetokenizer::operator()(std::string_view line) const {
  static const UnicodePattern opening(R"(^[\p{Sc}(\[{¿¡]+$)"), closing(R"(^[,.?!:;\\%}\])]+$)"),
      spaced_in_french(R"(^[?!:;\\%]$)"), contraction(R"(^'\p{L})"), elision(R"(\p{L}'$)"),
      letter(R"(^\p{L})"), quotation(R"(^['"„“`]+$)"), curled(R"(^[„“]+$)");
  const bool elides = language_ == "fr" || language_ == "it" || language_ == "ga";
  const auto words = words_of(line);
  std::string text, space;
  std::map<std::string, int> quotations;  // those that are open or closed, by mark
  for (size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    const auto join = [&](bool to_previous, bool to_next) {
      if (!to_previous) text += space;
      text += word;
      space = to_next ? "" : " ";
    };
    if (begins_cjk(word) && language_ != "ko") {
      join(i > 0 && ends_cjk(words[i - 1]), false);
    } else if (opening.matches(word)) {
      join(false, true);
    } else if (closing.matches(word)) {
      if (language_ == "fr" && spaced_in_french.matches(word)) text += " ";
      join(true, false);
    } else if (language_ == "en" && i > 0 && contraction.matches(word)) {
      join(true, false);
    } else if (elides && i + 1 < words.size() && elision.matches(word) &&
               letter.matches(words[i + 1])) {
      join(false, true);
    } else if (quotation.matches(word)) {
      int& count = quotations[curled.matches(word) ? "\"" : word];
      const bool opens = count % 2 == 0;
      const bool possessive =
          opens && language_ == "en" && word == "'" && i > 0 && words[i - 1].ends_with('s');
      if (!possessive) ++count;  // the Jones' house
      join(!opens || possessive, opens && !possessive);
    } else {
      join(false, false);
    }
  }
  return std::string(strip(text));
}

}  // namespace evomoe
