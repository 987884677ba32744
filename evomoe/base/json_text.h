#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace evomoe {

/// Levels of objects and lists in a file of ours or of another program: a few.
inline constexpr int kMostJsonLevels = 100;

/// The JSON that `text` is; a discarded value where it is none, or has more than kMostJsonLevels
/// levels: values are copied and printed by recursion, for which a file could use up the stack.
/// Text with a NUL byte is refused; the parser would stop there and lose the rest.
/// `repeated_key` gets the first key that an object has twice, of which only the last value is
/// kept.
/// `Json` is nlohmann::json or nlohmann::ordered_json.
template <typename Json = nlohmann::json>
Json parse_json(std::string_view text, std::string* repeated_key = nullptr);

/// What of a text is no UTF-8.
enum class BadUtf8 {
  kReplace,  ///< becomes U+FFFD
  kThrow,    ///< nlohmann::json::type_error
};

/// A value as text: on one line, or with `indent` spaces for each level.
template <typename Json>
std::string json_text(const Json& value, int indent = -1, BadUtf8 bad = BadUtf8::kReplace);

struct JsonProblem {
  std::string reason;      ///< and its place, if known: `at byte 9: invalid literal`
  bool is_at_end = false;  ///< found at the end of the text, which may have been cut off
};

/// Why parse_json() discards `text`. Only for text that it discards.
JsonProblem json_problem(std::string_view text);

}  // namespace evomoe
