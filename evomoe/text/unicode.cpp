#include "evomoe/text/unicode.h"

#include <fmt/format.h>
#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "evomoe/base/error.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

bool has_class(uint32_t code, uint32_t classes) {
  return (U_MASK(u_charType(static_cast<UChar32>(code))) & classes) != 0;
}

}  // namespace

std::string unicode_version() {
  UVersionInfo version;
  u_getUnicodeVersion(version);
  return fmt::format("{}.{}", version[0], version[1]);
}

bool is_letter(uint32_t code) { return has_class(code, U_GC_L_MASK); }
bool is_number(uint32_t code) { return has_class(code, U_GC_N_MASK); }

std::string lower_case(std::string_view text) {
  std::string lower;
  icu::StringByteSink<std::string> sink(&lower);
  UErrorCode status = U_ZERO_ERROR;
  constexpr const char* kNoLanguage = "";
  icu::CaseMap::utf8ToLower(kNoLanguage, 0, text, sink, /*edits=*/nullptr, status);
  EVOMOE_CHECK(U_SUCCESS(status) != 0, "ICU makes no lower case: {}", u_errorName(status));
  return lower;
}

std::string valid_utf8(std::string_view text) {
  if (is_utf8(text)) return std::string(text);
  std::string valid;
  return icu::UnicodeString::fromUTF8(text).toUTF8String(valid);
}

}  // namespace evomoe
