#include "evomoe/config/option.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/base/nearest_name.h"

namespace evomoe {
namespace {

using nlohmann::json;

std::string trim(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

/// Python's way to write a list or tuple on a command line, "(0.9, 0.98)", and fairseq's,
/// "0.9,0.98".
std::vector<std::string> split_list(const std::string& text) {
  std::string inner = trim(text);
  if (inner.size() >= 2 && ((inner.front() == '(' && inner.back() == ')') ||
                            (inner.front() == '[' && inner.back() == ']'))) {
    inner = trim(inner.substr(1, inner.size() - 2));
    if (!inner.empty() && inner.back() == ',') inner.pop_back();  // "(4,)"
  }
  std::vector<std::string> elements;
  size_t begin = 0;
  while (true) {
    const size_t comma = inner.find(',', begin);
    elements.push_back(trim(inner.substr(begin, comma - begin)));
    if (comma == std::string::npos) return elements;
    begin = comma + 1;
  }
}

template <typename T>
std::optional<T> parse_number(const std::string& text) {
  const std::string digits = !text.empty() && text[0] == '+' ? text.substr(1) : text;
  T number{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

std::optional<json> parse_element(OptionType type, const std::string& text) {
  switch (type) {
    case OptionType::kFlag: {
      std::string word = text;
      std::transform(word.begin(), word.end(), word.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (word == "true" || word == "yes" || word == "on" || word == "1") return json(true);
      if (word == "false" || word == "no" || word == "off" || word == "0") return json(false);
      return std::nullopt;
    }
    case OptionType::kInteger:
    case OptionType::kIntegerList:
      if (const auto number = parse_number<int64_t>(text)) return json(*number);
      return std::nullopt;
    case OptionType::kNumber:
    case OptionType::kNumberList:
      if (const auto number = parse_number<double>(text)) return json(*number);
      return std::nullopt;
    default:
      return json(text);
  }
}

std::string plain_number(double value) {
  std::string text = fmt::format("{}", value);
  if (text.size() > 2 && text.compare(text.size() - 2, 2, ".0") == 0) text.resize(text.size() - 2);
  return text;
}

}  // namespace

std::string spelled(const std::string& name) { return (name.size() == 1 ? "-" : "--") + name; }

std::string value_text(const json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return plain_number(value.get<double>());
  if (value.is_array()) {
    std::string text;
    for (const auto& element : value) text += (text.empty() ? "" : ",") + value_text(element);
    return text;
  }
  return json_text(value);
}

Option::Option(std::string name, std::string group, std::string help, OptionType type,
               bool optional, std::function<json()> load, std::function<void(const json&)> store)
    : name_(std::move(name)),
      group_(std::move(group)),
      help_(std::move(help)),
      type_(type),
      optional_(optional),
      load_(std::move(load)),
      store_(std::move(store)),
      default_(load_()) {}

Option& Option::choices(std::vector<std::string> values) {
  choices_ = std::move(values);
  return *this;
}

Option& Option::synonyms(std::map<std::string, std::string> ours_by_theirs) {
  synonyms_ = std::move(ours_by_theirs);
  return *this;
}

Option& Option::unsupported(std::vector<std::string> values, std::string reason) {
  unsupported_ = std::move(values);
  unsupported_reason_ = std::move(reason);
  return *this;
}

Option& Option::range(double least, double most) {
  least_ = least;
  most_ = most;
  return *this;
}

Option& Option::at_least(double least) {
  least_ = least;
  return *this;
}

Option& Option::above(double bound) {
  above_ = bound;
  return *this;
}

Option& Option::below(double bound) {
  below_ = bound;
  return *this;
}

Option& Option::at_most(double most) {
  most_ = most;
  return *this;
}

Option& Option::count(size_t elements) {
  count_ = elements;
  return *this;
}

Option& Option::alias(std::string other_name) {
  aliases_.push_back(std::move(other_name));
  return *this;
}

Option& Option::metavar(std::string word) {
  metavar_ = std::move(word);
  return *this;
}

Option& Option::required() {
  required_ = true;
  return *this;
}

Option& Option::of_tasks(std::vector<std::string> tasks) {
  tasks_ = std::move(tasks);
  return *this;
}

Option& Option::only_with(std::string other_option, std::vector<std::string> values) {
  condition_ = {std::move(other_option), std::move(values)};
  return *this;
}

std::string Option::help() const {
  auto text = help_;
  if (!tasks_.empty()) text += fmt::format(" Only in {}.", fmt::join(tasks_, ", "));
  if (!condition_.option.empty()) {
    text +=
        fmt::format(" Only with --{} {}.", condition_.option, fmt::join(condition_.values, " or "));
  }
  return text;
}

Option& Option::bare(std::string text) {
  bare_ = std::move(text);
  return *this;
}

Option& Option::default_from(std::function<json()> rule) {
  default_rule_ = std::move(rule);
  return *this;
}

Option& Option::of_reference() {
  of_reference_ = true;
  return *this;
}

Option& Option::off_up_to(double bound) {
  off_up_to_ = bound;
  return *this;
}

Option& Option::shapes_model() {
  shapes_model_ = true;
  return *this;
}

Option& Option::of_each_rank() {
  of_each_rank_ = true;
  return *this;
}

bool Option::is_off() const {
  const auto now = value();
  return off_up_to_ && now.is_number() && now.get<double>() <= *off_up_to_;
}

std::string Option::key() const {
  std::string key = name_;
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

bool Option::is_list() const {
  return type_ == OptionType::kIntegerList || type_ == OptionType::kNumberList ||
         type_ == OptionType::kTextList;
}

std::string Option::metavar() const {
  if (!metavar_.empty()) return metavar_;
  if (bare_ && !choices_.empty()) return "[NAME]";
  switch (type_) {
    case OptionType::kFlag:
      return default_ == true ? "[True|False]" : "";
    case OptionType::kInteger:
      return "N";
    case OptionType::kNumber:
      return "X";
    case OptionType::kText:
      return choices_.empty() ? "TEXT" : "NAME";
    case OptionType::kIntegerList:
      return "N,...";
    case OptionType::kNumberList:
      return "X,...";
    case OptionType::kTextList:
      return "TEXT,...";
  }
  return "";
}

bool Option::is_file() const {
  return metavar_ == "FILE" || metavar_ == "FILE..." || metavar_ == "PATH" ||
         metavar_ == "CHECKPOINT";
}

bool Option::is_folder() const {
  return metavar_ == "FOLDER" || metavar_ == "DIR" || metavar_ == "DATA" || metavar_ == "RUN" ||
         metavar_ == "RUN...";
}

std::string Option::allowed() const {
  std::string words;
  if (is_list())
    words = count_ ? fmt::format("{} values, each ", *count_) : "a comma-separated list, each ";
  if (!choices_.empty()) return words + fmt::format("one of: {}", fmt::join(choices_, ", "));
  switch (type_) {
    case OptionType::kFlag:
      return "true or false";
    case OptionType::kInteger:
    case OptionType::kIntegerList:
      words += "an integer";
      break;
    case OptionType::kNumber:
    case OptionType::kNumberList:
      words += "a number";
      break;
    default:
      words += "a string that is not empty";
  }
  if (least_ && most_) {
    words += fmt::format(" from {} to {}", plain_number(*least_), plain_number(*most_));
  } else if (least_) {
    words += fmt::format(" of at least {}", plain_number(*least_));
  }
  if (!least_ && most_) words += fmt::format(" of at most {}", plain_number(*most_));
  if (below_) words += fmt::format("{} below {}", least_ ? " and" : "", plain_number(*below_));
  if (above_) words += fmt::format(" above {}", plain_number(*above_));
  return words;
}

void Option::refuse(const std::string& text, const std::string& shown) const {
  if (std::find(unsupported_.begin(), unsupported_.end(), text) != unsupported_.end())
    fail_usage("{}: '{}' is not supported: {}", shown, text, unsupported_reason_);
  std::string hint;
  if (!choices_.empty()) {
    const auto nearest = nearest_name(text, choices_);
    if (!nearest.empty()) hint = fmt::format(" (did you mean '{}'?)", nearest);
  }
  fail_usage("{}: '{}' is not allowed; it takes {}{}", shown, text, allowed(), hint);
}

json Option::read(const std::string& text, const std::string& shown) const {
  if (const auto found = synonyms_.find(text); found != synonyms_.end())
    return read(found->second, shown);
  json value;
  if (is_list()) {
    value = json::array();
    for (const auto& element : split_list(text)) {
      const auto parsed = parse_element(type_, element);
      if (!parsed) refuse(text, shown);
      value.push_back(*parsed);
    }
  } else {
    const auto parsed = parse_element(type_, type_ == OptionType::kText ? text : trim(text));
    if (!parsed) refuse(text, shown);
    value = *parsed;
  }
  check(value, shown);
  return value;
}

bool Option::has_right_type(const json& element) const {
  switch (type_) {
    case OptionType::kFlag:
      return element.is_boolean();
    case OptionType::kInteger:
    case OptionType::kIntegerList:
      return element.is_number_integer() &&
             (!element.is_number_unsigned() || element.get<uint64_t>() <= uint64_t{INT64_MAX});
    case OptionType::kNumber:
    case OptionType::kNumberList:
      return element.is_number() && std::isfinite(element.get<double>());
    default:
      return element.is_string();
  }
}

bool Option::element_allowed(const json& element) const {
  if (!has_right_type(element)) return false;
  if (element.is_string()) {
    const auto& text = element.get_ref<const std::string&>();
    if (!choices_.empty())
      return std::find(choices_.begin(), choices_.end(), text) != choices_.end();
    return !text.empty();
  }
  if (!element.is_number()) return true;
  const double number = element.get<double>();
  return !(least_ && number < *least_) && !(most_ && number > *most_) &&
         !(above_ && number <= *above_) && !(below_ && number >= *below_);
}

void Option::check(const json& value, const std::string& shown) const {
  // A default may be what no user may write, e.g. an empty text for "not given".
  if (value == default_ || (value.is_null() && optional_)) return;
  if (!is_list()) {
    if (!element_allowed(value)) refuse(value_text(value), shown);
    return;
  }
  const bool right_count = value.is_array() && (count_ ? value.size() == *count_ : true);
  if (!right_count) refuse(value_text(value), shown);
  for (const auto& element : value) {
    if (!element_allowed(element)) refuse(value_text(value), shown);
  }
}

void Option::store(const json& value, bool by_user) {
  store_(value);
  if (by_user) set_ = true;
}

void Option::store_default() {
  if (default_rule_ && !set_) store_(default_rule_());
}

}  // namespace evomoe
