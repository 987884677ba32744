#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace evomoe {

enum class OptionType { kFlag, kInteger, kNumber, kText, kIntegerList, kNumberList, kTextList };

/// One option: its name, what it may be, and the field it fills. Made by OptionTable::add().
class Option {
 public:
  Option(std::string name, std::string group, std::string help, OptionType type, bool optional,
         std::function<nlohmann::json()> load, std::function<void(const nlohmann::json&)> store);

  // Refinements, each returning the option itself.
  Option& choices(std::vector<std::string> values);  ///< the only texts allowed
  Option& range(double least, double most);  ///< both ends allowed; for lists, of each element
  Option& at_least(double least);
  Option& above(double bound);     ///< strictly
  Option& count(size_t elements);  ///< a list has exactly so many elements
  Option& alias(std::string other_name);
  /// The name alone means this choice; a word behind it that is no choice is not its value.
  Option& implied(std::string choice);
  Option& metavar(std::string word);  ///< placeholder of the value in the help
  Option& required();

  const std::string& name() const { return name_; }  ///< with '-', without the leading "--"
  std::string key() const;                           ///< with '_': the field's name
  const std::string& group() const { return group_; }
  const std::string& help() const { return help_; }
  const std::vector<std::string>& aliases() const { return aliases_; }
  OptionType type() const { return type_; }
  bool is_list() const;
  bool is_optional() const { return optional_; }
  bool is_required() const { return required_; }
  bool is_set() const { return set_; }
  const nlohmann::json& default_value() const { return default_; }
  std::string metavar() const;
  const std::vector<std::string>& choices() const { return choices_; }
  const std::string& implied() const { return implied_; }  ///< empty: a value must be given
  std::string allowed() const;  ///< in words: "one of: a, b", "an integer of at least 1"

  nlohmann::json value() const { return load_(); }

  /// The value that `text` means, checked. UsageError naming the option as the user wrote it
  /// (`shown`), the text, and what is allowed.
  nlohmann::json read(const std::string& text, const std::string& shown) const;
  /// Refuses a typed value that the option does not allow; null is allowed for optionals.
  void check(const nlohmann::json& value, const std::string& shown) const;
  /// Stores a checked value; null empties an optional. `by_user` makes is_set() true.
  void store(const nlohmann::json& value, bool by_user);

 private:
  [[noreturn]] void refuse(const std::string& text, const std::string& shown) const;
  bool has_right_type(const nlohmann::json& value) const;
  bool element_allowed(const nlohmann::json& element) const;

  std::string name_, group_, help_;
  OptionType type_;
  bool optional_;
  bool required_ = false;
  bool set_ = false;
  std::function<nlohmann::json()> load_;
  std::function<void(const nlohmann::json&)> store_;
  nlohmann::json default_;
  std::vector<std::string> choices_, aliases_;
  std::optional<double> least_, most_, above_;
  std::optional<size_t> count_;
  std::string metavar_, implied_;
};

/// A value as a person writes it: 0.25, relu, 0.9,0.98; nothing for null.
std::string value_text(const nlohmann::json& value);

}  // namespace evomoe
