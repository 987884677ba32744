#include "evomoe/text/unicode_pattern.h"

#include <unicode/regex.h>
#include <unicode/ustring.h>

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

UnicodePattern::UnicodePattern(const std::string& pattern, bool of_lines)
    : code_(std::make_unique<Code>()) {
  UErrorCode status = U_ZERO_ERROR;
  const uint32_t flags = of_lines ? UREGEX_MULTILINE | UREGEX_UNIX_LINES : 0;
  code_->pattern.reset(
      icu::RegexPattern::compile(icu::UnicodeString::fromUTF8(pattern), flags, status));
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

struct UnicodePattern::Finder::State {
  icu::UnicodeString text;  // of which the matcher keeps a reference
  std::unique_ptr<icu::RegexMatcher> matcher;
};

UnicodePattern::Finder::Finder(const UnicodePattern& pattern) : state_(std::make_unique<State>()) {
  state_->matcher = pattern.code_->matcher(state_->text);
  constexpr int32_t kMostMilliseconds = 10000;  // of one match, about: some need exponential time
  UErrorCode status = U_ZERO_ERROR;
  state_->matcher->setTimeLimit(kMostMilliseconds, status);
}
UnicodePattern::Finder::~Finder() = default;
UnicodePattern::Finder::Finder(Finder&&) noexcept = default;

const std::vector<UnicodePattern::Match>& UnicodePattern::Finder::find_all(std::string_view text) {
  matches_.clear();
  auto& [unicode, matcher] = *state_;
  UErrorCode status = U_ZERO_ERROR;
  // There are never more units of UTF-16 than bytes of UTF-8.
  const auto room = static_cast<int32_t>(text.size());
  int32_t units = 0;
  auto* buffer = unicode.getBuffer(room);
  EVOMOE_CHECK(buffer != nullptr, "no memory for a text of {} bytes", text.size());
  u_strFromUTF8(buffer, room, &units, text.data(), room, &status);
  unicode.releaseBuffer(U_SUCCESS(status) != 0 ? units : 0);
  EVOMOE_CHECK(U_SUCCESS(status) != 0, "a text of {} bytes is not UTF-8", text.size());
  matcher->reset(unicode);
  const bool ascii = units == room;
  const auto* at_unit = unicode.getBuffer();
  int32_t unit = 0;
  size_t byte = 0;
  // The byte where a unit begins; units are asked for in rising order.
  const auto byte_of = [&](int32_t wanted) {
    if (ascii) return static_cast<size_t>(wanted);
    for (; unit < wanted; ++unit) {
      const auto code = at_unit[unit];
      byte += code < 0x80 ? 1 : code < 0x800 || U16_IS_SURROGATE(code) ? 2 : 3;
    }
    return byte;
  };
  while (matcher->find(status) != 0) {
    const size_t begin = byte_of(matcher->start(status));
    matches_.push_back({begin, byte_of(matcher->end(status))});
  }
  EVOMOE_CHECK(U_SUCCESS(status) != 0, "a regular expression on a text of {} bytes: {}",
               text.size(), u_errorName(status));
  return matches_;
}

}  // namespace evomoe
