#include "evomoe/base/json_text.h"

#include <fmt/format.h>

#include <set>
#include <vector>

namespace evomoe {
namespace {

/// Keeps what the parser says of the first place that is no JSON.
class FirstJsonProblem : public nlohmann::json::json_sax_t {
 public:
  explicit FirstJsonProblem(size_t size) : size_(size) {}

  const JsonProblem& problem() const { return problem_; }

  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*digits*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool key(string_t& /*name*/) override { return true; }
  bool start_object(std::size_t /*size*/) override { return ++depth_ <= kMostJsonLevels; }
  bool start_array(std::size_t /*size*/) override { return ++depth_ <= kMostJsonLevels; }
  bool end_object() override { return --depth_ >= 0; }
  bool end_array() override { return --depth_ >= 0; }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& error) override {
    // The library gives its reason in this text alone; a part that is not found is not cut off:
    // "[json...] parse error at ...: syntax error while parsing value - REASON; last read: ...", or
    // "[json...] REASON".
    std::string_view reason = error.what();
    for (const std::string_view before : {"] ", " - "}) {
      if (const auto at = reason.find(before); at != std::string_view::npos)
        reason.remove_prefix(at + before.size());
    }
    reason = reason.substr(0, reason.find("; last read: "));
    problem_ = {fmt::format("at byte {}: {}", position, reason), position > size_};
    return false;
  }

 private:
  size_t size_;
  int depth_ = 0;
  JsonProblem problem_ = {fmt::format("more than {} levels", kMostJsonLevels), false};
};

}  // namespace

template <typename Json>
Json parse_json(std::string_view text, std::string* repeated_key) {
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

template <typename Json>
std::string json_text(const Json& value, int indent, BadUtf8 bad) {
  using Handler = typename Json::error_handler_t;
  return value.dump(indent, ' ', /*ensure_ascii=*/false,
                    bad == BadUtf8::kThrow ? Handler::strict : Handler::replace);
}

// Here alone: in each file that reads or writes JSON they would be compiled again.
template nlohmann::json parse_json(std::string_view, std::string*);
template nlohmann::ordered_json parse_json(std::string_view, std::string*);
template std::string json_text(const nlohmann::json&, int, BadUtf8);
template std::string json_text(const nlohmann::ordered_json&, int, BadUtf8);

JsonProblem json_problem(std::string_view text) {
  if (const auto nul = text.find('\0'); nul != std::string_view::npos)
    return {fmt::format("at byte {}: a NUL byte", nul + 1), false};
  FirstJsonProblem first(text.size());
  nlohmann::json::sax_parse(text.begin(), text.end(), &first);
  return first.problem();
}

}  // namespace evomoe
