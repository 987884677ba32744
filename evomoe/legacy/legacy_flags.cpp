#include "evomoe/legacy/legacy_flags.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/legacy/embedded_files.h"

namespace evomoe {
namespace {

using Texts = std::vector<std::string>;

/// Options of training that an evaluation ignores with this note.
struct TrainingRule {
  Texts options, groups;
  std::string beginning;
  std::string note;  ///< empty: they are unknown there

  bool names(const std::string& option) const {
    return std::ranges::find(options, option) != options.end() ||
           (!beginning.empty() && option.starts_with(beginning));
  }
};

/// legacy_flags.yaml.
struct LegacyFile {
  std::map<std::string, std::vector<LegacyFlag>> of_command;
  std::vector<TrainingRule> options_of_training;
  std::string note_of_training_flags;
};

/// Refuses keys that mean nothing: a flag that is spelled wrong would be left out.
void check_keys(const YAML::Node& node, const std::set<std::string>& known) {
  for (const auto& entry : node) {
    EVOMOE_CHECK(known.contains(entry.first.as<std::string>()),
                 "legacy_flags.yaml, line {}: '{}' means nothing", entry.first.Mark().line + 1,
                 entry.first.as<std::string>());
  }
}

Texts texts(const YAML::Node& node) { return node.IsDefined() ? node.as<Texts>() : Texts(); }

/// The flags of an entry of a set.
std::vector<LegacyFlag> flags_of(const YAML::Node& entry) {
  struct Kind {
    const char* key;
    bool takes_value, refused;
  };
  static constexpr Kind kKinds[] = {{"ignored", false, false},
                                    {"ignored_with_value", true, false},
                                    {"refused", false, true},
                                    {"refused_with_value", true, true}};
  std::set<std::string> keys = {"values", "note"};
  for (const auto& kind : kKinds) keys.insert(kind.key);
  check_keys(entry, keys);
  std::vector<LegacyFlag> flags;
  for (const auto& kind : kKinds) {
    for (const auto& name : texts(entry[kind.key])) {
      flags.push_back({name, kind.takes_value, texts(entry["values"]),
                       entry["note"].as<std::string>(), kind.refused});
    }
  }
  return flags;
}

LegacyFile read_file() {
  const auto root = YAML::Load(std::string(legacy_flags_yaml()));
  check_keys(root, {"commands", "options_of_training", "flags_of_training", "sets"});
  LegacyFile file;
  for (const auto& command : root["commands"]) {
    auto& flags = file.of_command[command.first.as<std::string>()];
    for (const auto& name : command.second.as<Texts>()) {
      const auto set = root["sets"][name];
      EVOMOE_CHECK(set.IsDefined(), "legacy_flags.yaml: there is no set '{}'", name);
      for (const auto& entry : set) {
        for (auto& flag : flags_of(entry)) flags.push_back(std::move(flag));
      }
    }
  }
  for (const auto& rule : root["options_of_training"]) {
    check_keys(rule, {"options", "groups", "beginning", "note"});
    file.options_of_training.push_back({texts(rule["options"]), texts(rule["groups"]),
                                        rule["beginning"].as<std::string>(""),
                                        rule["note"].as<std::string>("")});
  }
  file.note_of_training_flags = root["flags_of_training"].as<std::string>();
  return file;
}

const LegacyFile& legacy_file() {
  static const auto file = read_file();
  return file;
}

void add(OptionTable& table, const LegacyFlag& flag) {
  if (!table.knows(flag.name)) table.legacy(flag);
}

}  // namespace

void add_legacy_flags(OptionTable& table, const std::string& command) {
  for (const auto& flag : legacy_file().of_command.at(command)) add(table, flag);
}

void add_legacy_flags(OptionTable& table, const std::string& command, const OptionTable& train) {
  add_legacy_flags(table, command);
  const auto& file = legacy_file();
  const auto ignore = [&](const auto& rule_holds, bool takes_value, const Texts& names) {
    const auto rule = std::ranges::find_if(file.options_of_training, rule_holds);
    if (rule == file.options_of_training.end() || rule->note.empty()) return;
    for (const auto& name : names) add(table, {name, takes_value, {}, rule->note});
  };
  for (const auto& option : train.options()) {
    Texts names = {option->name()};
    names.insert(names.end(), option->aliases().begin(), option->aliases().end());
    ignore(
        [&](const TrainingRule& rule) {
          return rule.names(option->name()) ||
                 std::ranges::find(rule.groups, option->group()) != rule.groups.end();
        },
        option->type() != OptionType::kFlag, names);
  }
  for (const auto& shorthand : train.shorthands()) {
    ignore([&](const TrainingRule& rule) { return rule.names(shorthand.name); }, false,
           {shorthand.name});
  }
  for (const auto& flag : train.legacy_flags())
    add(table, {flag.name, flag.takes_value, {}, file.note_of_training_flags});
}

}  // namespace evomoe
