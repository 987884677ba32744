#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace evomoe {

/// The keys of an object as a sentence lists them, the first of many: `"a", "b"`.
std::string shown_keys(const nlohmann::json& object);

/// "a number", "an object".
std::string type_words(const nlohmann::json& value);

/// Whether the file ends inside `line`, the last one of `piece`, which parse_json() discards. All
/// other lines of a file have an end.
bool is_cut_off(std::string_view line, std::string_view piece);

/// Why such a line is bad.
inline constexpr const char* kCutOff =
    "the file ends inside this line, which is no whole JSON object: it was cut off; copy or make "
    "it again";

}  // namespace evomoe
