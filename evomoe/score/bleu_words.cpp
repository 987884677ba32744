#include "evomoe/score/bleu_words.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/text/text_lines.h"
#include "evomoe/text/unicode_pattern.h"

namespace evomoe {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_stop(char c) { return c == '.' || c == ','; }

/// ASCII punctuation and symbols but for ' , - and .
bool is_symbol(char c) {
  return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/// mteval-v13a's four rules, each over what the one before made. They look at ASCII only, so bytes
/// serve as characters.
std::string tokenize_13a(std::string_view line) {
  std::string text = replaced(std::string(line), "<skipped>", "");
  text = replaced(text, "-\n", "");
  text = replaced(text, "\n", " ");
  text = replaced(text, "&quot;", "\"");
  text = replaced(text, "&amp;", "&");
  text = replaced(text, "&lt;", "<");
  text = replaced(text, "&gt;", ">");
  text = " " + text + " ";
  std::string out;
  for (const char c : text) {
    if (is_symbol(c)) {
      out += {' ', c, ' '};
    } else {
      out += c;
    }
  }
  std::swap(text, out);
  out.clear();  // a stop is split off unless a digit stands before it,
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (i + 1 < text.size() && !is_digit(text[i]) && is_stop(text[i + 1])) {
      out += {' ', text[i + 1], ' '};
      ++i;
    }
  }
  std::swap(text, out);
  out.clear();  // or behind it,
  for (size_t i = 0; i < text.size(); ++i) {
    if (i + 1 < text.size() && is_stop(text[i]) && !is_digit(text[i + 1])) {
      out += {' ', text[i], ' ', text[i + 1]};
      ++i;
    } else {
      out += text[i];
    }
  }
  std::swap(text, out);
  out.clear();  // and a dash behind a digit.
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (i + 1 < text.size() && is_digit(text[i]) && text[i + 1] == '-') {
      out += " - ";
      ++i;
    }
  }
  return out;
}

/// mteval-v14's three rules over Unicode's classes.
std::string tokenize_intl(std::string_view line) {
  EVOMOE_CHECK(is_utf8(line), "BLEU's tokenizer intl needs UTF-8, which '{}' is not", line);
  static const UnicodePattern before(R"((\P{N})(\p{P}))"), behind(R"((\p{P})(\P{N}))"),
      symbol(R"((\p{S}))");
  return symbol.replace(behind.replace(before.replace(line, "$1 $2 "), " $1 $2"), " $1 ");
}

std::string tokenize_characters(std::string_view line) {
  std::string out;
  for (size_t at = 0; at < line.size();) {
    uint32_t code = 0;
    const auto length = static_cast<size_t>(std::max(utf8_character(line, at, code), 1));
    out.append(line.substr(at, length)).append(" ");
    at += length;
  }
  return out;
}

}  // namespace

std::vector<std::string> bleu_words(std::string_view line, const std::string& tokenizer) {
  line = strip_end(line);
  std::string text;
  if (tokenizer == "13a") {
    text = tokenize_13a(line);
  } else if (tokenizer == "intl") {
    text = tokenize_intl(line);
  } else if (tokenizer == "char") {
    text = tokenize_characters(line);
  } else if (tokenizer == "none") {
    text = line;
  } else {
    fail_usage(
        "--sacrebleu-tokenizer {}: there are 13a, none, intl and char; for another one tokenize "
        "both files before and use none",
        tokenizer);
  }
  std::vector<std::string> words;
  for_each_word(text, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

}  // namespace evomoe
