#include "evomoe/report/compared_data.h"

#include <fmt/format.h>

#include <fstream>
#include <initializer_list>
#include <iterator>

#include "evomoe/base/json_text.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

/// The value under keys one in the other, null where there is none.
ordered_json value_at(const ordered_json& record, std::initializer_list<std::string> keys) {
  ordered_json value = record;
  for (const auto& key : keys) {
    if (!value.is_object() || !value.contains(key)) return nullptr;
    value = ordered_json(value.at(key));
  }
  return value;
}

std::string shown(const ordered_json& value) {
  if (value.is_null()) return "not given";
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

/// The validation data of runs `a` and `b` as far as both tell of them: what is not the same.
std::vector<std::string> differences_of(const ordered_json& a, const ordered_json& b,
                                        const std::string& subset) {
  std::vector<std::string> found;
  const auto differs = [&](std::initializer_list<std::string> keys) {
    const auto one = value_at(a, keys), other = value_at(b, keys);
    return !one.is_null() && !other.is_null() && one != other;
  };
  const auto both = [&](std::initializer_list<std::string> keys) {
    return shown(value_at(b, keys)) + " against " + shown(value_at(a, keys));
  };
  for (const auto* side : {"", "source_"}) {
    const auto vocabulary = side + std::string("vocabulary");
    const auto words = *side != '\0' ? "source " : "";
    if (differs({"model", vocabulary})) {
      found.push_back(
          fmt::format("{}vocabularies of {} symbols", words, both({"model", vocabulary})));
    } else if (differs({"model", side + std::string("dictionary")})) {
      found.push_back(fmt::format("other symbols in the {}dictionary", words));
    }
    if (value_at(a, {"model", "dictionary"}) == value_at(a, {"model", "source_dictionary"}) &&
        value_at(b, {"model", "dictionary"}) == value_at(b, {"model", "source_dictionary"}))
      break;  // one dictionary, and told of once
  }
  if (differs({"valid", subset, "tokens"})) {
    found.push_back(fmt::format("validation data '{}' of {} tokens", subset,
                                both({"valid", subset, "tokens"})));
  } else if (differs({"valid", subset, "xxh64"})) {
    found.push_back(fmt::format("other text in the validation data '{}'", subset));
  }
  const auto settings_a = value_at(a, {"settings"}), settings_b = value_at(b, {"settings"});
  if (settings_a.is_object() && settings_b.is_object()) {
    for (const auto& [flag, value] : settings_b.items()) {
      if (settings_a.contains(flag) && settings_a.at(flag) != value)
        found.push_back(
            fmt::format("--{} {} against {}", flag, shown(value), shown(settings_a.at(flag))));
    }
  }
  return found;
}

}  // namespace

ordered_json read_data_record(const std::filesystem::path& run_folder) {
  std::ifstream file(run_folder / "data.json", std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  auto record = parse_json<ordered_json>(text);
  return record.is_object() ? record : ordered_json();
}

std::vector<std::string> data_differences(const ordered_json& first, const ordered_json& other,
                                          const std::string& subset) {
  const std::string suffix = "_stage";
  const bool of_stage = !value_at(first, {"valid", subset}).is_object() && subset.ends_with(suffix);
  return differences_of(first, other,
                        of_stage ? subset.substr(0, subset.size() - suffix.size()) : subset);
}

std::optional<std::string> training_difference(const ordered_json& first,
                                               const ordered_json& other) {
  // Their number of items follows from --tokens-per-sample.
  const auto one = value_at(first, {"train", "tokens"});
  const auto tokens = value_at(other, {"train", "tokens"});
  if (one == tokens) return std::nullopt;
  return fmt::format("{} tokens of {} against {} of {}", shown(tokens),
                     shown(value_at(other, {"data"})), shown(one),
                     shown(value_at(first, {"data"})));
}

}  // namespace evomoe
