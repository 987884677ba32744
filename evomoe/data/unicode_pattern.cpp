#define PCRE2_CODE_UNIT_WIDTH 8

#include "evomoe/data/unicode_pattern.h"

#include <pcre2.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

PCRE2_SPTR bytes(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

struct UnicodePattern::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* code;
};

UnicodePattern::UnicodePattern(const char* pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                             PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  EVOMOE_CHECK(code != nullptr, "pattern '{}': error {} of PCRE2 at {}", pattern, error, offset);
  code_ = std::make_unique<Code>(code);
}

UnicodePattern::~UnicodePattern() = default;

bool UnicodePattern::matches(std::string_view text) const {
  auto* data = pcre2_match_data_create_from_pattern(code_->code, nullptr);
  const int count = pcre2_match(code_->code, bytes(text), text.size(), 0, 0, data, nullptr);
  pcre2_match_data_free(data);
  return count >= 0;
}

std::string UnicodePattern::replace(std::string_view text, std::string_view replacement) const {
  std::string out(text.size() * 2 + 16, '\0');
  for (;;) {
    PCRE2_SIZE length = out.size();
    const int count = pcre2_substitute(code_->code, bytes(text), text.size(), 0,
                                       PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_OVERFLOW_LENGTH,
                                       nullptr, nullptr, bytes(replacement), replacement.size(),
                                       reinterpret_cast<PCRE2_UCHAR*>(out.data()), &length);
    if (count == PCRE2_ERROR_NOMEMORY && length > out.size()) {
      out.resize(length);  // what it asked for
      continue;
    }
    EVOMOE_CHECK(count >= 0, "'{}': error {} of PCRE2; it may not be UTF-8", text, count);
    out.resize(length);
    return out;
  }
}

}  // namespace evomoe
