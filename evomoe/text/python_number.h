#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

/// Numbers in text as Python reads them: white space at both ends, a sign, digits of any script and
/// `_` between digits are allowed.
namespace evomoe {

/// What int() reads; nothing where it refuses. What is beyond 64 bits is the nearest that is not.
std::optional<int64_t> python_int(std::string_view text);

/// What float() reads of numbers that are finite; nothing for all else.
std::optional<double> python_float(std::string_view text);

}  // namespace evomoe
