#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "evomoe/config/option.h"

namespace evomoe {

/// A spelling that stands for another option with a value: `--cpu` is `--device cpu`.
struct Shorthand {
  std::string name, target, value, help;
};

/// A flag of the reference that this program accepts without effect, so that old command lines go
/// on working, or refuses with a reason.
struct LegacyFlag {
  std::string name;  ///< of one letter: `-m`
  bool takes_value = false;
  std::vector<std::string> harmless;  ///< values accepted; empty: any. Others are a UsageError
  std::string note;                   ///< why there is nothing to do, or what to do instead
  bool refused = false;
};

/// What every command has beside its table: how to spell it, the placeholder of its value (none: it
/// takes none), and its help.
struct GeneralOption {
  std::vector<std::string> names;
  std::string metavar, help;
};
const std::vector<GeneralOption>& general_options();

/// Its harmless values as a sentence lists them.
std::string harmless_text(const LegacyFlag& flag);

/// The one table of a command's options: from it come the command line, YAML files,
/// `group.key=value` overrides, what a checkpoint stores, `--help` and the reference page. Every
/// group becomes an object of the JSON and YAML forms; options of the group "" lie at the top.
///
///   TrainOptions options;
///   OptionTable table("train", "trains a language model");
///   describe(table, options);
///   if (!table.parse(arguments)) fmt::print("{}", table.help_text());  // otherwise `options` is
///   filled
class OptionTable {
 public:
  OptionTable(std::string command, std::string summary);
  OptionTable(const OptionTable&) = delete;
  OptionTable& operator=(const OptionTable&) = delete;

  // --- describing ---
  /// The options added next belong to this group, and are for all tasks. A group that is there
  /// already goes on, behind its last option, and keeps its title.
  void group(const std::string& name, const std::string& title = "");
  /// The options of this group added next are for these values of --task only.
  void for_tasks(std::vector<std::string> tasks) { tasks_ = std::move(tasks); }
  /// Adds an option that fills *target, whose value now is the default. T is bool, int64_t, double,
  /// std::string, an optional of these, or a vector of the latter three.
  template <typename T>
  Option& add(const std::string& name, T* target, const std::string& help);
  /// As add(), but filled by the next unnamed argument as well (a list: by all remaining ones).
  template <typename T>
  Option& positional(const std::string& name, T* target, const std::string& help);
  void shorthand(std::string name, std::string target, std::string value, std::string help);
  void legacy(LegacyFlag flag) { legacy_.push_back(std::move(flag)); }
  void example(std::string command_line, std::string what);

  /// Is there an option, alias, shorthand or legacy flag of this name?
  bool knows(const std::string& name) const;

  // --- reading ---
  /// Reads the arguments after the command's name. Precedence: command line, then
  /// `group.key=value`, then `--config` files (later ones win), then defaults. False when `--help`
  /// was given. UsageError for anything that is not understood. In both cases the options are as
  /// before.
  bool parse(const std::vector<std::string>& arguments);
  /// One line for each flag that was accepted without effect; to be shown to the user.
  const std::vector<std::string>& notices() const { return notices_; }
  /// Was the option given by the command line, an override or a file?
  bool is_set(const std::string& name) const { return at(name).is_set(); }
  /// The option of this name or alias; Error when there is none.
  const Option& at(const std::string& name) const;
  /// The option that fairseq's group `group` holds under `key` (`_name`: the one that the group
  /// chooses); null: none.
  const Option* option_in(const std::string& group, const std::string& key) const {
    return find_for_group(group, key);
  }
  /// The option with its value as one writes it on a command line: `--moe-k 3`, or the shorthand
  /// that stands for it.
  std::string written(const Option& option) const;

  // --- storing ---
  /// All values, defaults included; an optional that is not given is null. Numbers survive exactly.
  nlohmann::ordered_json to_json() const;
  /// Takes all values of `stored`; options that it lacks go back to their defaults. is_set() does
  /// not change. A flag that is now without effect is passed over. UsageError for unknown keys and
  /// wrong types, and then the options are as before.
  void from_json(const nlohmann::ordered_json& stored);
  /// A file that `--config` reads back to the same values. UsageError for a text that is not UTF-8.
  std::string to_yaml() const;

  std::string help_text() const;
  /// The command's section of docs/options.md.
  std::string markdown() const;

  struct Group {
    std::string name, title;
  };
  /// A command line and what it does.
  struct Example {
    std::string line, what;
  };
  const std::string& command() const { return command_; }
  const std::string& summary() const { return summary_; }
  const std::vector<Group>& groups() const { return groups_; }  ///< the first: no name, no title
  const std::vector<Example>& examples() const { return examples_; }
  /// Group by group.
  const std::vector<std::unique_ptr<Option>>& options() const { return options_; }
  const std::vector<Option*>& positionals() const { return positionals_; }
  const std::vector<Shorthand>& shorthands() const { return shorthands_; }
  const std::vector<LegacyFlag>& legacy_flags() const { return legacy_; }
  /// The legacy flags, those together of which the same is to be said.
  std::vector<std::vector<LegacyFlag>> legacy_groups() const;

 private:
  /// A value that was read and checked, and waits until all others are.
  struct Assignment {
    Option* option;
    nlohmann::json value;
    std::string shown;
    int source = 0;  ///< files in their order, then the command line
  };
  /// An option that something else must give; how a message names it.
  struct Mandatory {
    Option* option;
    std::string shown, remedy;
  };
  struct NamedArguments;

  Option& insert(const std::string& name, const std::string& help, OptionType type, bool optional,
                 std::function<nlohmann::json()> load,
                 std::function<void(const nlohmann::json&)> store);
  Option* find(const std::string& name) const;  ///< by name or alias, with '_' or '-'; or null
  Option* find_in_group(const std::string& group, const std::string& name) const;
  bool has_group(const std::string& name) const;
  /// " (did you mean '--lr'?)" or nothing.
  std::string hint(const std::string& name, const std::string& prefix) const;

  NamedArguments read_named(const std::vector<std::string>& arguments) const;
  [[noreturn]] void fail_unknown(const std::string& spelling) const;
  /// What it means with the value `text`; nothing for false.
  std::optional<Assignment> read_shorthand(const Shorthand& shorthand, const std::string& text,
                                           const std::string& shown) const;
  const Shorthand* find_shorthand(const std::string& name) const;  ///< null: none
  /// Notices or refuses it; a flag that is false is not there.
  void take_legacy(const LegacyFlag& flag, const std::string& value);
  /// The override that `argument` is, if it is one.
  std::optional<Assignment> read_override(const std::string& argument);
  /// Whether `group`, ours or one of fairseq's Hydra configuration, may hold the option.
  bool admits(const std::string& group, const Option& option) const;
  /// `task=masked_lm`: the option that a group's name in Hydra stands for, or null.
  Option* option_of_group(const std::string& group) const;
  Option* find_for_group(const std::string& group, const std::string& key) const;
  std::vector<Assignment> read_positionals(const std::vector<std::string>& arguments) const;
  const LegacyFlag* find_legacy(const std::string& name) const;  ///< with '_' or '-'; or null
  /// `given`: texts by key that are told elsewhere, to which `${group.key}` in the file may refer.
  /// `mandatory` gets what the file leaves to others, as `key: ???`.
  std::vector<Assignment> read_yaml_file(const std::string& path,
                                         const std::map<std::string, std::string>& given,
                                         std::vector<Mandatory>& mandatory);
  void require(const std::vector<Assignment>& assignments) const;
  /// Leaves out what a file says for a value of another option (Option::only_with) that a later
  /// source has changed: `--config a/config.yaml --optimizer muon` ignores a's --adam-betas.
  std::vector<Assignment> without_overruled(const std::vector<Assignment>& assignments) const;

  std::string command_, summary_;
  std::vector<Group> groups_;
  std::string group_;  ///< of the options added next
  std::vector<std::string> tasks_;
  std::vector<std::unique_ptr<Option>> options_;
  std::vector<Option*> positionals_;
  std::vector<Shorthand> shorthands_;
  std::vector<LegacyFlag> legacy_;
  std::vector<Example> examples_;
  std::vector<std::string> notices_;
};

// ---------------------------------------------------------------------------------------------------------------------

namespace option_detail {

template <typename T>
struct Unwrap {
  using type = T;
  static constexpr bool optional = false;
};
template <typename T>
struct Unwrap<std::optional<T>> {
  using type = T;
  static constexpr bool optional = true;
};

template <typename T>
constexpr OptionType type_of() {
  if constexpr (std::is_same_v<T, bool>) return OptionType::kFlag;
  if constexpr (std::is_same_v<T, int64_t>) return OptionType::kInteger;
  if constexpr (std::is_same_v<T, double>) return OptionType::kNumber;
  if constexpr (std::is_same_v<T, std::string>) return OptionType::kText;
  if constexpr (std::is_same_v<T, std::vector<int64_t>>) return OptionType::kIntegerList;
  if constexpr (std::is_same_v<T, std::vector<double>>) return OptionType::kNumberList;
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return OptionType::kTextList;
}

}  // namespace option_detail

template <typename T>
Option& OptionTable::add(const std::string& name, T* target, const std::string& help) {
  using Value = typename option_detail::Unwrap<T>::type;
  constexpr bool optional = option_detail::Unwrap<T>::optional;
  const auto load = [target]() -> nlohmann::json {
    if constexpr (optional) {
      return *target ? nlohmann::json(**target) : nlohmann::json();
    } else {
      return nlohmann::json(*target);
    }
  };
  const auto store = [target](const nlohmann::json& value) {
    if constexpr (optional) {
      if (value.is_null()) {
        target->reset();
        return;
      }
    }
    *target = value.get<Value>();
  };
  return insert(name, help, option_detail::type_of<Value>(), optional, load, store);
}

template <typename T>
Option& OptionTable::positional(const std::string& name, T* target, const std::string& help) {
  Option& option = add(name, target, help);
  positionals_.push_back(&option);
  return option;
}

}  // namespace evomoe
