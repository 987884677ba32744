#include "evomoe/text/unicode_pattern.h"

#include <unicode/regex.h>

#include "evomoe/base/error.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {

struct UnicodePattern::Code {
  std::unique_ptr<icu::RegexPattern> pattern;

  std::unique_ptr<icu::RegexMatcher> matcher(const icu::UnicodeString& text) const {
    UErrorCode status = U_ZERO_ERROR;
    std::unique_ptr<icu::RegexMatcher> made(pattern->matcher(text, status));
    EVOMOE_CHECK(U_SUCCESS(status) != 0, "a regular expression of ICU: {}", u_errorName(status));
    return made;
  }
};

UnicodePattern::UnicodePattern(const char* pattern) : code_(std::make_unique<Code>()) {
  UErrorCode status = U_ZERO_ERROR;
  code_->pattern.reset(
      icu::RegexPattern::compile(icu::UnicodeString::fromUTF8(pattern), 0, status));
  EVOMOE_CHECK(U_SUCCESS(status) != 0, "pattern '{}': {}", pattern, u_errorName(status));
}

UnicodePattern::~UnicodePattern() = default;

bool UnicodePattern::matches(std::string_view text) const {
  if (!is_utf8(text)) return false;
  const auto unicode = icu::UnicodeString::fromUTF8(text);
  return code_->matcher(unicode)->find() != 0;
}

std::string UnicodePattern::replace(std::string_view text, std::string_view replacement) const {
  EVOMOE_CHECK(is_utf8(text), "'{}' is not UTF-8", text);
  const auto unicode = icu::UnicodeString::fromUTF8(text);
  UErrorCode status = U_ZERO_ERROR;
  const auto replaced =
      code_->matcher(unicode)->replaceAll(icu::UnicodeString::fromUTF8(replacement), status);
  EVOMOE_CHECK(U_SUCCESS(status) != 0, "'{}': {}", text, u_errorName(status));
  std::string out;
  return replaced.toUTF8String(out);
}

}  // namespace evomoe
