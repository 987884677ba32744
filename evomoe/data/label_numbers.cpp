#include "evomoe/data/label_numbers.h"

#include <cmath>
#include <optional>
#include <string_view>

#include "evomoe/base/error.h"
#include "evomoe/base/mapped_file.h"
#include "evomoe/text/python_number.h"
#include "evomoe/text/text_lines.h"

namespace evomoe {
namespace {

std::optional<float> parse_label(std::string_view text) {
  const auto label = static_cast<float>(python_float(text).value_or(NAN));
  return std::isfinite(label) ? std::optional(label) : std::nullopt;
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
