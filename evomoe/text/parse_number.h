#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

/// Reads numbers in text as Python does: white space at both ends, a sign, digits of any script and
/// `_` between digits are allowed.
namespace evomoe {

/// What Python's int() reads; nothing where it refuses. What is beyond 64 bits is the nearest that
/// is not.
std::optional<int64_t> parse_int(std::string_view text);

/// What Python's float() reads of numbers that are finite; nothing for all else.
std::optional<double> parse_float(std::string_view text);

}  // namespace evomoe
