#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace evomoe {

/// The keys of an object as a sentence lists them, the first of many: `"a", "b"`.
std::string shown_keys(const nlohmann::json& object);

/// "a number", "an object".
std::string type_words(const nlohmann::json& value);

/// Whether `line`, the last line of `piece`, may have been cut off: lines of a file have an end.
bool ends_file_without_line_end(std::string_view line, std::string_view piece);

}  // namespace evomoe
