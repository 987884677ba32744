#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace evomoe {

/// Levels of objects and lists in a file of ours or of another program: a few.
inline constexpr int kMostJsonLevels = 100;

/// The JSON that `text` is; a discarded value where it is none, or has more than kMostJsonLevels
/// levels: values are copied and printed by recursion, for which a file could use up the stack.
template <typename Json = nlohmann::json>
Json parse_json(std::string_view text) {
  bool too_deep = false;
  const auto watch = [&](int depth, nlohmann::detail::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMostJsonLevels;
    return !too_deep;
  };
  auto value = Json::parse(text, watch, /*allow_exceptions=*/false);
  return too_deep ? Json(Json::value_t::discarded) : value;
}

}  // namespace evomoe
