#include "evomoe/report/log_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "evomoe/base/json_text.h"

namespace evomoe {
namespace {

using nlohmann::ordered_json;

std::string print(const char* format, int precision, double value) {
  // printf of glibc rounds the exact binary value, half to even, as Python does.
  const int size = std::snprintf(nullptr, 0, format, precision, value);
  std::string text(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(text.data(), text.size(), format, precision, value);
  text.pop_back();
  return text;
}

/// Python's json.dumps: a space behind each comma and colon, which nlohmann's dump() does not
/// offer.
void dump(const ordered_json& value, std::string& text) {
  const char* separator = "";
  if (value.is_object()) {
    text += '{';
    for (const auto& [key, element] : value.items()) {
      text += separator + json_text(ordered_json(key)) + ": ";
      dump(element, text);
      separator = ", ";
    }
    text += '}';
  } else if (value.is_array()) {
    text += '[';
    for (const auto& element : value) {
      text += separator;
      dump(element, text);
      separator = ", ";
    }
    text += ']';
  } else {
    text += json_text(value);
  }
}

}  // namespace

double round_python(double value, int digits) {
  if (!std::isfinite(value)) return value;
  return std::strtod(print("%.*f", digits, value).c_str(), nullptr);
}

std::string format_g(double value) {
  if (std::isnan(value)) return "nan";  // printf shows the sign of a NaN, Python does not
  return print("%.*g", 6, value);
}

LogLine::LogLine(int64_t epoch, std::optional<double> update) : epoch_(epoch) {
  if (update) update_ = round_python(*update, 3);
}

void LogLine::put(Entry entry) {
  const auto same = std::find_if(entries_.begin(), entries_.end(),
                                 [&](const Entry& other) { return other.key == entry.key; });
  if (same != entries_.end()) {
    *same = std::move(entry);
  } else {
    entries_.push_back(std::move(entry));
  }
}

void LogLine::add(const std::string& key, double value, int priority, std::optional<int> digits) {
  put({key, digits ? round_python(value, *digits) : value, priority, /*text_only=*/false});
}

void LogLine::add_text(const std::string& key, double value, int priority, int digits) {
  put({key, round_python(value, digits), priority, /*text_only=*/true});
}

void LogLine::add_data(const std::string& key, ordered_json value) {
  data_.emplace_back(key, std::move(value));
}

std::vector<LogLine::Entry> LogLine::sorted() const {
  auto entries = entries_;
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.priority < b.priority; });
  return entries;
}

LogLine LogLine::without_zeros(const std::vector<std::string>& keys) const {
  auto line = *this;
  std::erase_if(line.entries_, [&](const Entry& entry) {
    return entry.value == 0 && std::find(keys.begin(), keys.end(), entry.key) != keys.end();
  });
  return line;
}

template <typename Show>
ordered_json LogLine::json_of(const std::string& prefix, Show show) const {
  ordered_json line = ordered_json::object();
  if (epoch_) line["epoch"] = *epoch_;
  if (update_) line["update"] = *update_;
  for (const auto& entry : sorted()) {
    if (!entry.text_only) line[prefix + entry.key] = show(entry.value);
  }
  for (const auto& [key, value] : data_) line[prefix + key] = value;
  return line;
}

ordered_json LogLine::to_json(const std::string& prefix) const { return json_of(prefix, format_g); }

ordered_json LogLine::to_numbers(const std::string& prefix) const {
  return json_of(prefix, [](double value) { return value; });
}

std::string LogLine::json_text(const std::string& prefix) const {
  return python_json(to_json(prefix));
}

std::string LogLine::simple_text(int64_t step, int64_t steps) const {
  std::string text = epoch_ ? fmt::format("epoch {:03d}:  {:5d} / {}", *epoch_, step, steps)
                            : fmt::format("{:5d} / {}", step, steps);
  const char* separator = " ";
  for (const auto& entry : sorted()) {
    text += fmt::format("{}{}={}", separator, entry.key, format_g(entry.value));
    separator = ", ";
  }
  return text;
}

std::string LogLine::bar_text(const std::string& heading) const {
  std::string text = epoch_ ? fmt::format("epoch {:03d}", *epoch_) : "";
  if (!heading.empty()) text += (text.empty() ? "" : " | ") + heading;
  for (const auto& entry : sorted()) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " | ", entry.key, format_g(entry.value));
  }
  return text;
}

std::string python_json(const ordered_json& value) {
  std::string text;
  dump(value, text);
  return text;
}

std::string validation_heading(const std::string& subset) {
  return fmt::format("valid on '{}' subset", subset);
}

}  // namespace evomoe
