#include "evomoe/text/python_number.h"

#include <unicode/uchar.h>

#include <cctype>
#include <charconv>
#include <limits>
#include <string>

#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

/// The number in ASCII, without `+` and `_`, for from_chars(); empty where there is none.
std::string plain_number(std::string_view text) {
  // The separators of ASCII are white space to str.strip(), but not here.
  if (text.find_first_of("\x1C\x1D\x1E\x1F") != std::string_view::npos) return "";
  text = strip(text);
  std::string plain;
  const auto ends_with_digit = [&] {
    return !plain.empty() && std::isdigit(static_cast<unsigned char>(plain.back())) != 0;
  };
  bool joined = false;  // behind a `_`, where a digit must follow
  for (size_t at = 0; at < text.size();) {
    uint32_t code = 0;
    const int length = utf8_character(text, at, code);
    if (length == 0) return "";
    at += static_cast<size_t>(length);
    const auto digit = u_charDigitValue(static_cast<UChar32>(code));
    if (joined && digit < 0) return "";
    joined = code == '_';
    if (joined && !ends_with_digit()) return "";
    if (joined) continue;
    if (digit < 0 && code >= 0x80) return "";
    plain += digit >= 0 ? static_cast<char>('0' + digit) : static_cast<char>(code);
  }
  if (joined) return "";
  if (plain.starts_with('+')) {
    plain.erase(0, 1);
    if (plain.starts_with('-')) return "";
  }
  return plain;
}

template <typename Number>
std::from_chars_result read(const std::string& text, Number& number) {
  auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ptr != text.data() + text.size()) result.ec = std::errc::invalid_argument;
  return result;
}

}  // namespace

std::optional<int64_t> python_int(std::string_view text) {
  using Limits = std::numeric_limits<int64_t>;
  const auto plain = plain_number(text);
  int64_t number = 0;
  const auto error = read(plain, number).ec;
  if (error == std::errc::result_out_of_range)
    return plain.starts_with('-') ? Limits::min() : Limits::max();
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

std::optional<double> python_float(std::string_view text) {
  const auto plain = plain_number(text);
  double number = 0;
  if (plain.find_first_of("nN") != std::string::npos) return std::nullopt;  // nan, inf
  return read(plain, number).ec == std::errc() ? std::optional(number) : std::nullopt;
}

}  // namespace evomoe
