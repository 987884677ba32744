#pragma once

#include <functional>
#include <map>
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
  /// The reference's words for some values, and ours: {{"None", "none"}}.
  Option& synonyms(std::map<std::string, std::string> ours_by_theirs);
  /// Values of the reference that are refused, and why or what else does it.
  Option& unsupported(std::vector<std::string> values, std::string reason);
  Option& range(double least, double most);  ///< both ends allowed; for lists, of each element
  Option& at_least(double least);
  Option& at_most(double most);
  Option& above(double bound);     ///< strictly
  Option& below(double bound);     ///< strictly
  Option& count(size_t elements);  ///< a list has exactly so many elements
  Option& alias(std::string other_name);
  Option& metavar(std::string word);  ///< placeholder of the value in the help
  Option& required();
  Option& of_tasks(std::vector<std::string> tasks);  ///< for these only; empty: for all
  /// For these values of another option only, e.g. only_with("optimizer", {"muon"}). Given with
  /// another value it is refused.
  Option& only_with(std::string other_option, std::vector<std::string> values);
  /// The value that the option has when it is given without one; argparse calls it `const`. A word
  /// behind it that is none of its choices, or no whole number where it is one, is not its value.
  Option& bare(std::string text);
  /// What is not given follows from other options, by this rule.
  Option& default_from(std::function<nlohmann::json()> rule);
  /// The reference has it. Where it has no effect it is ignored with a notice, so that the
  /// reference's command lines go on working; one of our own is refused there.
  Option& of_reference();
  /// Values up to this one turn it off: no notice and no refusal where it has no effect.
  Option& off_up_to(double bound);
  /// Another value makes another model, so that a run cannot go on with one.
  Option& shapes_model();
  /// It says where a process stands or how it computes: ranks of a run may have different values.
  Option& of_each_rank();

  const std::string& name() const { return name_; }  ///< with '-', without the leading "--"
  std::string key() const;                           ///< with '_': the field's name
  const std::string& group() const { return group_; }
  std::string help() const;  ///< with the tasks, or values of another option, that it is for
  /// The help with the choices, the default, and whether it is needed.
  std::string full_help() const;
  const std::vector<std::string>& aliases() const { return aliases_; }
  const std::vector<std::string>& tasks() const { return tasks_; }
  struct Condition {
    std::string option;  ///< empty: there is no condition
    std::vector<std::string> values;
  };
  const Condition& condition() const { return condition_; }
  OptionType type() const { return type_; }
  bool is_list() const;
  bool is_required() const { return required_; }
  bool is_set() const { return set_; }
  bool is_of_reference() const { return of_reference_; }
  bool is_off() const;  ///< its value is one that off_up_to() names
  bool is_shaping_model() const { return shapes_model_; }
  bool is_of_each_rank() const { return of_each_rank_; }
  const nlohmann::json& default_value() const { return default_; }
  const std::optional<std::string>& bare() const { return bare_; }
  std::string metavar() const;
  const std::vector<std::string>& choices() const { return choices_; }
  /// What the placeholder says of the value: a path of a file, or of a folder.
  bool is_file() const;
  bool is_folder() const;
  std::string allowed() const;  ///< in words: "one of: a, b", "an integer of at least 1"

  nlohmann::json value() const { return load_(); }

  /// The value that `text` means, checked. UsageError naming the option as the user wrote it
  /// (`shown`), the text, and what is allowed.
  nlohmann::json read(const std::string& text, const std::string& shown) const;
  /// Refuses a typed value that the option does not allow; null is allowed for optionals.
  void check(const nlohmann::json& value, const std::string& shown) const;
  /// Stores a checked value; null empties an optional. `by_user` makes is_set() true.
  void store(const nlohmann::json& value, bool by_user);
  /// To be called when all that is given is stored.
  void store_default();

 private:
  [[noreturn]] void refuse(const std::string& text, const std::string& shown) const;
  bool has_right_type(const nlohmann::json& value) const;
  bool element_allowed(const nlohmann::json& element) const;

  std::string name_, group_, help_;
  OptionType type_;
  bool optional_;
  bool required_ = false;
  bool set_ = false;
  bool of_reference_ = false;
  bool shapes_model_ = false;
  bool of_each_rank_ = false;
  std::function<nlohmann::json()> load_;
  std::function<void(const nlohmann::json&)> store_;
  std::function<nlohmann::json()> default_rule_;
  nlohmann::json default_;
  std::vector<std::string> choices_, aliases_, tasks_, unsupported_;
  std::map<std::string, std::string> synonyms_;
  std::string unsupported_reason_;
  std::optional<double> least_, most_, above_, below_, off_up_to_;
  std::optional<size_t> count_;
  std::optional<std::string> bare_;
  std::string metavar_;
  Condition condition_;
};

/// A name as it is given on a command line: `--arch`, and `-a` of its few names of one letter.
std::string spelled(const std::string& name);

/// A value as a person writes it: 0.25, relu, 0.9,0.98; nothing for null.
std::string value_text(const nlohmann::json& value);

}  // namespace evomoe
