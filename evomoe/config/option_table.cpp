#include "evomoe/config/option_table.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/nearest_name.h"
#include "evomoe/config/hydra_groups.h"

namespace evomoe {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

std::string dashed(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

}  // namespace

OptionTable::OptionTable(std::string command, std::string summary)
    : command_(std::move(command)), summary_(std::move(summary)) {
  group("", "");
}

void OptionTable::group(const std::string& name, const std::string& title) {
  if (groups_.empty() || (name != "" && !has_group(name))) groups_.push_back({name, title});
  group_ = name;
  tasks_.clear();
}

Option& OptionTable::insert(const std::string& name, const std::string& help, OptionType type,
                            bool optional, std::function<json()> load,
                            std::function<void(const json&)> store) {
  EVOMOE_CHECK(find(name) == nullptr, "option table of '{}': --{} is described twice", command_,
               name);
  auto option = std::make_unique<Option>(name, group_, help, type, optional, std::move(load),
                                         std::move(store));
  option->of_tasks(tasks_);
  const auto place_of = [&](const std::string& group) {
    return std::ranges::find(groups_, group, &Group::name) - groups_.begin();
  };
  const auto place = place_of(group_);
  auto next = options_.end();
  while (next != options_.begin() && place_of((*std::prev(next))->group()) > place) --next;
  return **options_.insert(next, std::move(option));
}

void OptionTable::shorthand(std::string name, std::string target, std::string value,
                            std::string help) {
  EVOMOE_CHECK(find(target) != nullptr,
               "option table of '{}': --{} stands for --{}, which is not there", command_, name,
               target);
  shorthands_.push_back({std::move(name), std::move(target), std::move(value), std::move(help)});
}

void OptionTable::example(std::string command_line, std::string what) {
  examples_.push_back({std::move(command_line), std::move(what)});
}

Option* OptionTable::find(const std::string& name) const {
  const std::string wanted = dashed(name);
  for (const auto& option : options_) {
    const auto& aliases = option->aliases();
    if (option->name() == wanted ||
        std::find(aliases.begin(), aliases.end(), wanted) != aliases.end()) {
      return option.get();
    }
  }
  return nullptr;
}

Option* OptionTable::find_in_group(const std::string& group, const std::string& name) const {
  Option* option = find(name);
  return option != nullptr && option->group() == group ? option : nullptr;
}

bool OptionTable::admits(const std::string& group, const Option& option) const {
  return option.group() == group || hydra_group_admits(group, option.group());
}

Option* OptionTable::option_of_group(const std::string& group) const {
  const std::string name = option_named_by(group);
  return name.empty() ? nullptr : find(name);
}

Option* OptionTable::find_for_group(const std::string& group, const std::string& key) const {
  if (key == "_name") return option_of_group(group);
  Option* option = find(key);
  return option != nullptr && admits(group, *option) ? option : nullptr;
}

const LegacyFlag* OptionTable::find_legacy(const std::string& name) const {
  const auto found = std::find_if(legacy_.begin(), legacy_.end(), [&](const LegacyFlag& flag) {
    return flag.name == dashed(name);
  });
  return found == legacy_.end() ? nullptr : &*found;
}

const Shorthand* OptionTable::find_shorthand(const std::string& name) const {
  const auto found = std::find_if(shorthands_.begin(), shorthands_.end(),
                                  [&](const Shorthand& each) { return each.name == dashed(name); });
  return found == shorthands_.end() ? nullptr : &*found;
}

bool OptionTable::knows(const std::string& name) const {
  return find_shorthand(name) != nullptr || find(name) != nullptr || find_legacy(name) != nullptr;
}

const Option& OptionTable::at(const std::string& name) const {
  const Option* option = find(name);
  EVOMOE_CHECK(option != nullptr, "the command '{}' has no option --{}", command_, name);
  return *option;
}

std::string OptionTable::written(const Option& option) const {
  const auto value = option.value();
  const auto text = value_text(value);
  for (const auto& shorthand : shorthands_) {
    if (shorthand.target == option.name() && shorthand.value == text) return "--" + shorthand.name;
  }
  return value == json(true) ? "--" + option.name() : fmt::format("--{} {}", option.name(), text);
}

bool OptionTable::has_group(const std::string& name) const {
  return std::any_of(groups_.begin(), groups_.end(),
                     [&](const Group& group) { return !name.empty() && group.name == name; });
}

std::string OptionTable::hint(const std::string& name, const std::string& prefix) const {
  std::vector<std::string> candidates;
  for (const auto& option : options_) {
    candidates.push_back(option->name());
    for (const auto& alias : option->aliases()) {
      if (alias.size() > 1) candidates.push_back(alias);
    }
  }
  if (!prefix.empty()) {  // a command line has more than a file
    candidates.insert(candidates.end(), {"config", "help"});
    for (const auto& shorthand : shorthands_) candidates.push_back(shorthand.name);
  }
  const auto nearest = nearest_name(dashed(name), candidates);
  return nearest.empty() ? "" : fmt::format(" (did you mean '{}{}'?)", prefix, nearest);
}

void OptionTable::require(const std::vector<Assignment>& assignments) const {
  for (const auto& option : options_) {
    const bool assigned = std::any_of(
        assignments.begin(), assignments.end(),
        [&](const Assignment& assignment) { return assignment.option == option.get(); });
    if (!option->is_required() || assigned || option->value() != option->default_value()) continue;
    const bool unnamed =
        std::find(positionals_.begin(), positionals_.end(), option.get()) != positionals_.end();
    fail_usage("evomoe {}: {} is missing: {} (see evomoe {} --help)", command_,
               unnamed ? option->metavar() : "--" + option->name(), option->help(), command_);
  }
}

ordered_json OptionTable::to_json() const {
  ordered_json stored = ordered_json::object();
  for (const auto& option : options_) {
    auto& place = option->group().empty() ? stored : stored[option->group()];
    place[option->key()] = ordered_json(option->value());
  }
  return stored;
}

void OptionTable::from_json(const ordered_json& stored) {
  if (!stored.is_object()) fail_usage("the stored options of '{}' are not a JSON object", command_);
  std::vector<Assignment> assignments;
  const auto take = [&](const std::string& group, const std::string& key,
                        const ordered_json& value) {
    const std::string shown = group.empty() ? key : group + "." + key;
    Option* option = find_in_group(group, key);
    if (option == nullptr && find_legacy(key) != nullptr) return;
    if (option == nullptr || option->key() != key) {
      fail_usage("stored options: '{}' is not known to this version of evomoe{}", shown,
                 hint(key, ""));
    }
    assignments.push_back({option, json(value), "stored option " + shown});
    option->check(assignments.back().value, assignments.back().shown);
  };
  for (const auto& [key, value] : stored.items()) {
    if (has_group(key) && value.is_object()) {
      for (const auto& [inner, inner_value] : value.items()) take(key, inner, inner_value);
    } else {
      take("", key, value);
    }
  }
  for (const auto& option : options_) option->store(option->default_value(), /*by_user=*/false);
  for (const auto& assignment : assignments) {
    assignment.option->store(assignment.value, /*by_user=*/false);
  }
}

}  // namespace evomoe
