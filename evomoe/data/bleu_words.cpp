#define PCRE2_CODE_UNIT_WIDTH 8

#include "evomoe/data/bleu_words.h"

#include <locale.h>
#include <pcre2.h>
#include <wctype.h>

#include <algorithm>
#include <memory>

#include "evomoe/base/error.h"
#include "evomoe/data/text_lines.h"

namespace evomoe {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_stop(char c) { return c == '.' || c == ','; }

/// ASCII punctuation and symbols but for ' , - and .
bool is_symbol(char c) {
  return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
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

/// A rule of mteval-v14 over Unicode's classes.
class UnicodeRule {
 public:
  UnicodeRule(const char* pattern, const char* replacement) : replacement_(replacement) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                              PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
    EVOMOE_CHECK(code_, "pattern '{}': error {} of PCRE2 at {}", pattern, error, offset);
  }

  std::string apply(const std::string& text) const {
    std::string out(text.size() * 3 + 16, '\0');  // a rule adds two spaces to a character at most
    PCRE2_SIZE length = out.size();
    const int count = pcre2_substitute(
        code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
        PCRE2_SUBSTITUTE_GLOBAL, nullptr, nullptr, reinterpret_cast<PCRE2_SPTR>(replacement_),
        PCRE2_ZERO_TERMINATED, reinterpret_cast<PCRE2_UCHAR*>(out.data()), &length);
    EVOMOE_CHECK(count >= 0, "BLEU's tokenizer intl needs UTF-8, which '{}' is not", text);
    out.resize(length);
    return out;
  }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
  const char* replacement_;
};

std::string tokenize_intl(std::string_view line) {
  static const UnicodeRule before(R"((\P{N})(\p{P}))", "$1 $2 ");
  static const UnicodeRule behind(R"((\p{P})(\P{N}))", " $1 $2");
  static const UnicodeRule symbol(R"((\p{S}))", " $1 ");
  return symbol.apply(behind.apply(before.apply(std::string(line))));
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

void append_utf8(std::string& text, uint32_t code) {
  const auto rest = [&](int shift) {
    text += static_cast<char>(0x80 | ((code >> shift) & 0x3F));
  };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0 | (code >> 6));
    rest(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0 | (code >> 12));
    rest(6);
    rest(0);
  } else {
    text += static_cast<char>(0xF0 | (code >> 18));
    rest(12);
    rest(6);
    rest(0);
  }
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

std::string lower_case(std::string_view text) {
  static const locale_t unicode = [] {
    const auto made = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    EVOMOE_CHECK(made != nullptr, "the locale C.UTF-8, which lower case is taken from, is not there");
    return made;
  }();
  std::string lower;
  for (size_t at = 0; at < text.size();) {
    uint32_t code = 0;
    const int length = utf8_character(text, at, code);
    if (length == 0) {
      lower += text[at++];
      continue;
    }
    append_utf8(lower, static_cast<uint32_t>(towlower_l(static_cast<wint_t>(code), unicode)));
    at += static_cast<size_t>(length);
  }
  return lower;
}

}  // namespace evomoe
