#include "evomoe/data/label_numbers.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "evomoe/base/error.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/data/text_lines.h"

namespace evomoe {
namespace {

std::optional<float> parse_label(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const auto label = static_cast<float>(number);
  if (error != std::errc() || rest != end || !std::isfinite(label)) return std::nullopt;
  return label;
}

}  // namespace

std::vector<float> read_label_numbers(const std::filesystem::path& path) {
  const MappedFile file(path);
  std::vector<float> numbers;
  for_each_line(file.bytes(), [&](std::string_view line) {
    const auto number = parse_label(strip(line));
    EVOMOE_CHECK(number.has_value(),
                 "{}:{}: `{}` is not a number; --regression-target needs one in each line",
                 path.string(), numbers.size() + 1, line);
    numbers.push_back(*number);
  });
  return numbers;
}

}  // namespace evomoe
