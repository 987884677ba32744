#include "evomoe/data/bpe_words.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <memory>

#include "evomoe/base/error.h"
#include "evomoe/data/text_lines.h"

namespace evomoe {
namespace {

enum class Kind : uint8_t { kSpace, kLetter, kDigit, kOther, kNotAscii };

constexpr std::array<Kind, 256> kKinds = [] {
  std::array<Kind, 256> kinds{};
  for (int c = 0; c < 256; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    kinds[c] = c >= 0x80              ? Kind::kNotAscii
               : letter               ? Kind::kLetter
               : c >= '0' && c <= '9' ? Kind::kDigit
               : space                ? Kind::kSpace
                                      : Kind::kOther;
  }
  return kinds;
}();

Kind kind(char c) { return kKinds[static_cast<uint8_t>(c)]; }

/// White space is spelled out, because PCRE2's \s has one character more (U+180E) than that of the
/// `regex` package that GPT-2 uses.
constexpr const char* kPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^S\p{L}\p{N}]+|[S]+(?![^S])|[S]+)";
constexpr std::string_view kSpaces =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

const pcre2_code* compiled_pattern() {
  static const pcre2_code* const code = [] {
    std::string pattern;
    for (const char* c = kPattern; *c != 0; ++c) {
      if (*c == 'S') {
        pattern += kSpaces;
      } else {
        pattern += *c;
      }
    }
    int error = 0;
    PCRE2_SIZE where = 0;
    pcre2_code* made = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK,
                                     &error, &where, nullptr);
    EVOMOE_CHECK(made != nullptr,
                 "PCRE2 refuses GPT-2's pattern (error {} at {}); it was built without Unicode",
                 error, where);
    pcre2_jit_compile(made, PCRE2_JIT_COMPLETE);  // without JIT pcre2_match interprets
    return made;
  }();
  return code;
}

}  // namespace

bool BpeWords::enter_region(std::string_view& word) {
  if (at_ < region_end_) return true;
  uint32_t code = 0;
  size_t end = at_;
  while (end < text_.size()) {
    if (kind(text_[end]) != Kind::kNotAscii) {
      ++end;
    } else if (const int length = utf8_character(text_, end, code); length > 0) {
      end += length;
    } else {
      break;
    }
  }
  region_begin_ = at_;
  region_end_ = end;
  if (end > at_) return true;
  while (end < text_.size() && utf8_character(text_, end, code) == 0) ++end;
  word = text_.substr(at_, end - at_);
  at_ = region_begin_ = region_end_ = end;
  return false;
}

size_t BpeWords::ascii_end() const {
  const char* const text = text_.data();
  const size_t end = region_end_;
  const char first = text[at_];
  if (first == '\'' && at_ + 1 < end) {
    const char second = text[at_ + 1];
    if (second == 's' || second == 't' || second == 'm' || second == 'd') return at_ + 2;
    const char third = at_ + 2 < end ? text[at_ + 2] : ' ';
    if ((second == 'r' || second == 'v') && third == 'e') return at_ + 3;
    if (second == 'l' && third == 'l') return at_ + 3;
  }
  size_t next = first == ' ' ? at_ + 1 : at_;
  if (next < end && kind(text[next]) != Kind::kSpace) {
    const Kind run = kind(text[next]);
    if (run == Kind::kNotAscii) return 0;
    while (next < end && kind(text[next]) == run) ++next;
    return next < end && kind(text[next]) == Kind::kNotAscii ? 0 : next;
  }
  next = at_;
  while (next < end && kind(text[next]) == Kind::kSpace) ++next;
  if (next == end) return next;
  if (kind(text[next]) == Kind::kNotAscii) return 0;
  return next - at_ > 1 ? next - 1 : next;  // the last space belongs to the word that follows
}

size_t BpeWords::regex_end() const {
  struct Free {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  };
  const pcre2_code* const code = compiled_pattern();
  thread_local const std::unique_ptr<pcre2_match_data, Free> match(
      pcre2_match_data_create_from_pattern(code, nullptr));
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text_.data() + region_begin_),
                                region_end_ - region_begin_, at_ - region_begin_,
                                PCRE2_NO_UTF_CHECK, match.get(), nullptr);
  // A run of a million letters may exceed PCRE2's limits; a cut inside a word still decodes
  // exactly.
  if (found < 1) {
    uint32_t character = 0;
    return at_ + utf8_character(text_, at_, character);
  }
  return region_begin_ + pcre2_get_ovector_pointer(match.get())[1];
}

bool BpeWords::next(std::string_view& word) {
  if (at_ >= text_.size()) return false;
  if (!enter_region(word)) return true;
  size_t end = ascii_end();
  if (end == 0) end = regex_end();
  word = text_.substr(at_, end - at_);
  at_ = end;
  return true;
}

bool BpeWords::next_by_regex(std::string_view& word) {
  if (at_ >= text_.size()) return false;
  if (!enter_region(word)) return true;
  const size_t end = regex_end();
  word = text_.substr(at_, end - at_);
  at_ = end;
  return true;
}

}  // namespace evomoe
