#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace evomoe {

/// Levels of objects and lists in a file of ours or of another program: a few.
inline constexpr int kMostJsonLevels = 100;

/// The JSON that `text` is; a discarded value where it is none, or has more than kMostJsonLevels
/// levels: values are copied and printed by recursion, for which a file could use up the stack.
/// Text with a NUL byte is refused; the parser would stop there and lose the rest.
/// `repeated_key` gets the first key that an object has twice, of which only the last value is
/// kept.
template <typename Json = nlohmann::json>
Json parse_json(std::string_view text, std::string* repeated_key = nullptr) {
  using Event = nlohmann::detail::parse_event_t;
  if (text.find('\0') != std::string_view::npos) return Json(Json::value_t::discarded);
  bool too_deep = false;
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Event event, Json& parsed) {
    too_deep = too_deep || depth > kMostJsonLevels;
    if (too_deep || repeated_key == nullptr) return !too_deep;
    if (event == Event::object_start) {
      keys.emplace_back();
    } else if (event == Event::object_end) {
      keys.pop_back();
    } else if (event == Event::key) {
      const auto& key = parsed.template get_ref<const std::string&>();
      if (!keys.back().insert(key).second && repeated_key->empty()) *repeated_key = key;
    }
    return true;
  };
  auto value = Json::parse(text, watch, /*allow_exceptions=*/false);
  return too_deep ? Json(Json::value_t::discarded) : value;
}

struct JsonProblem {
  std::string reason;      ///< and its place, if known: `at byte 9: invalid literal`
  bool is_at_end = false;  ///< found at the end of the text, which may have been cut off
};

/// Why parse_json() discards `text`. Only for text that it discards.
JsonProblem json_problem(std::string_view text);

}  // namespace evomoe
