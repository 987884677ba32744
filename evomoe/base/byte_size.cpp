#include "evomoe/base/byte_size.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr double kLargest = 0x1p62;

/// The power of 1024 that `unit` means: "", "B", "K", "KB", "KiB" ...; -1 for anything else.
int power_of(std::string unit) {
  for (auto& letter : unit) letter = static_cast<char>(std::toupper(letter));
  if (unit.empty() || unit == "B") return 0;
  const auto power = std::string("KMGT").find(unit[0]);
  const auto rest = unit.substr(1);
  const bool known = power != std::string::npos && (rest.empty() || rest == "B" || rest == "IB");
  return known ? static_cast<int>(power) + 1 : -1;
}

}  // namespace

int64_t parse_byte_size(const std::string& text, const std::string& option) {
  double number = 0;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  std::string unit(rest, end);
  unit.erase(0, unit.find_first_not_of(' '));
  const int power = error == std::errc() ? power_of(unit) : -1;
  const double bytes = std::ldexp(number, 10 * std::max(power, 0));
  if (power < 0 || !(bytes >= 1 && bytes <= kLargest)) {
    fail_usage(
        "{}: '{}' is not allowed; it takes a number above 0 with K, M, G or T behind it (powers of "
        "1024), e.g. 8G or 512M",
        option, text);
  }
  return static_cast<int64_t>(bytes);
}

std::string byte_size_text(int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

}  // namespace evomoe
