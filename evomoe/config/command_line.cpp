// Reading of the arguments of a command (OptionTable::parse).
#include <algorithm>
#include <cctype>

#include "evomoe/base/error.h"
#include "evomoe/config/hydra_groups.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

/// An argument that begins with a name, taken apart: `--name`, `--name=value`, `-n`, `-nvalue`.
struct NameArgument {
  std::string
      name;  ///< with its dashes; `--update_freq`, as many scripts write it, is --update-freq
  std::optional<std::string> value;
  bool is_attached = false;  ///< the value stands behind a letter, without a `=`
};

NameArgument taken_apart(const std::string& argument) {
  const size_t equals = argument.find('=');
  NameArgument parts;
  parts.name = argument.substr(0, equals);
  if (equals != std::string::npos) parts.value = argument.substr(equals + 1);
  if (argument[1] == '-') {
    std::replace(parts.name.begin(), parts.name.end(), '_', '-');
  } else if (parts.name.size() > 2) {
    parts = {argument.substr(0, 2), argument.substr(2), /*is_attached=*/true};
  }
  return parts;
}

bool is_python_bool(const std::string& text) {
  return text == "True" || text == "False" || text == "true" || text == "false";
}

/// --name or -n, but not -3.
bool is_name(const std::string& text) {
  return text.size() > 1 && text[0] == '-' &&
         std::isdigit(static_cast<unsigned char>(text[1])) == 0;
}

bool is_false(const std::string& text) { return text == "False" || text == "false"; }

bool contains(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

/// Of an option that may stand alone: is the argument behind it its value?
bool may_be_value(const Option& option, const std::string& text) {
  if (!option.choices().empty()) return contains(option.choices(), text);
  if (option.type() == OptionType::kInteger) {  // `--live RUN`
    const auto digits = text.starts_with('-') ? text.substr(1) : text;
    return !digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos;
  }
  return !is_name(text);
}

bool identifier(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

}  // namespace

/// The texts given for each name, in the order of the table, and the unnamed rest.
struct OptionTable::NamedArguments {
  bool help = false;
  std::vector<std::string> config_files;
  std::vector<std::pair<Option*, std::string>> options;
  std::vector<const Shorthand*> shorthands;
  std::vector<std::pair<const LegacyFlag*, std::string>> legacy;
  std::vector<std::string> rest;
};

OptionTable::NamedArguments OptionTable::read_named(
    const std::vector<std::string>& arguments) const {
  NamedArguments named;
  std::map<const void*, std::string> given;  // of options, shorthands, legacy flags; the last wins
  std::optional<std::string> config_dir, config_name;
  for (size_t at = 0; at < arguments.size(); ++at) {
    const auto& argument = arguments[at];
    if (argument.size() < 2 || argument[0] != '-') {
      named.rest.push_back(argument);
      continue;
    }
    if (argument == "--") {  // no names any more
      named.rest.insert(named.rest.end(), arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                        arguments.end());
      break;
    }
    const auto [spelling, value, is_attached] = taken_apart(argument);
    const auto* next = at + 1 < arguments.size() ? &arguments[at + 1] : nullptr;
    const auto text = [&, &value = value](const std::string& name) {
      if (value) return *value;
      if (next == nullptr)
        fail_usage("evomoe {}: {} needs a value (see evomoe {} --help)", command_, name, command_);
      ++at;
      return *next;
    };
    const auto flag_text = [&, &value = value]() -> std::string {
      if (value) return *value;
      if (next == nullptr || !is_python_bool(*next)) return "true";
      ++at;
      return *next;  // fairseq's `--left-pad-source False`
    };
    const bool is_letter = spelling[1] != '-';
    const auto name = spelling.substr(is_letter ? 1 : 2);
    Option* option = find(name);
    if (option != nullptr && !is_letter && name.size() == 1 && option->name() != name)
      option = nullptr;  // an alias of one letter has one dash
    const auto* shorthand = find_shorthand(name);
    const auto* legacy = is_letter == (name.size() == 1) ? find_legacy(name) : nullptr;
    const bool takes_value = option != nullptr ? option->type() != OptionType::kFlag
                                               : legacy != nullptr && legacy->takes_value;
    if ((spelling == "--help" || spelling == "-h") && !value) {
      named.help = true;
    } else if (spelling == "--config") {
      named.config_files.push_back(text(spelling));
    } else if (spelling == "--config-dir") {
      config_dir = text(spelling);
    } else if (spelling == "--config-name") {
      config_name = text(spelling);
    } else if (is_attached && !takes_value) {
      fail_unknown(argument);
    } else if (option != nullptr && option->bare() && !value &&
               (next == nullptr || !may_be_value(*option, *next))) {
      // Alone: what follows is none of its values; --remove-bpe may stand before a positional.
      given[option] = *option->bare();
    } else if (option != nullptr) {
      given[option] = takes_value ? text("--" + option->name()) : flag_text();
    } else if (shorthand != nullptr) {
      if (value.value_or("true") != "true") {
        fail_usage("--{}={}: this flag takes no value; leave it out, or use --{}", name, *value,
                   shorthand->target);
      }
      given[shorthand] = "true";
    } else if (legacy != nullptr) {
      given[legacy] = takes_value ? text(spelling) : flag_text();
    } else {
      fail_unknown(spelling);
    }
  }
  if (config_dir.has_value() != config_name.has_value()) {
    fail_usage("--config-dir and --config-name go together: the file is DIR/NAME.yaml");
  }
  if (config_name) {
    named.config_files.insert(
        named.config_files.begin(),
        *config_dir + "/" + *config_name + (config_name->ends_with(".yaml") ? "" : ".yaml"));
  }
  for (const auto& option : options_) {
    if (const auto found = given.find(option.get()); found != given.end())
      named.options.emplace_back(option.get(), found->second);
  }
  for (const auto& shorthand : shorthands_) {
    if (given.contains(&shorthand)) named.shorthands.push_back(&shorthand);
  }
  for (const auto& flag : legacy_) {
    if (const auto found = given.find(&flag); found != given.end())
      named.legacy.emplace_back(&flag, found->second);
  }
  return named;
}

void OptionTable::fail_unknown(const std::string& spelling) const {
  const auto first = std::min(spelling.find_first_not_of('-'), spelling.size());
  fail_usage("evomoe {}: unknown option '{}'{}; evomoe {} --help lists all", command_, spelling,
             hint(spelling.substr(first), "--"), command_);
}

std::optional<OptionTable::Assignment> OptionTable::read_shorthand(const Shorthand& shorthand,
                                                                   const std::string& text,
                                                                   const std::string& shown) const {
  if (is_false(text)) return std::nullopt;
  if (!is_python_bool(text))
    fail_usage("{}: '{}' is not allowed: it is true or false", shown, text);
  Option* option = find(shorthand.target);
  return Assignment{option, option->read(shorthand.value, shown), shown};
}

void OptionTable::take_legacy(const LegacyFlag& flag, const std::string& value) {
  if (!flag.takes_value && is_false(value)) return;
  const bool harmless = flag.harmless.empty() || contains(flag.harmless, value);
  const std::string shown =
      flag.takes_value ? fmt::format("--{} {}", flag.name, value) : spelled(flag.name);
  if (flag.refused || !harmless) fail_usage("{}: {}", shown, flag.note);
  notices_.push_back(fmt::format("{}: accepted without effect: {}", shown, flag.note));
}

std::optional<OptionTable::Assignment> OptionTable::read_override(const std::string& argument) {
  const size_t equals = argument.find('=');
  if (equals == std::string::npos) return std::nullopt;
  // Hydra's `+group.key=value` and `++group.key=value` add what a file lacks: the same here.
  const std::string signed_left = argument.substr(0, equals);
  const std::string left = signed_left.substr(std::min(signed_left.find_first_not_of('+'), equals));
  const size_t dot = left.find('.');
  if (dot == std::string::npos) {
    Option* chosen = option_of_group(left);
    if (chosen == nullptr) return std::nullopt;
    return Assignment{chosen, chosen->read(group_choice(left, argument.substr(equals + 1)), left),
                      left};
  }
  const std::string group = left.substr(0, dot), name = left.substr(dot + 1);
  if (group == "hydra") {
    notices_.push_back(
        fmt::format("{}: accepted without effect: Hydra writes no files here; "
                    "--save-dir says where the run goes",
                    argument));
    return Assignment{nullptr, nullptr, left};
  }
  if (!identifier(group) || !identifier(name)) return std::nullopt;  // a path, not an override
  if (!has_group(group) && !is_hydra_group(group)) {
    fail_usage("override '{}': {}", argument, no_such_group(groups_, group));
  }
  Option* option = find_for_group(group, name);
  if (option == nullptr && find(name) == nullptr) {
    const std::string text = argument.substr(equals + 1);
    const Assignment nothing{nullptr, nullptr, left};
    if (const auto* shorthand = find_shorthand(name)) {
      return read_shorthand(*shorthand, text, fmt::format("override '{}'", argument))
          .value_or(nothing);
    }
    if (const auto* legacy = find_legacy(name)) {
      take_legacy(*legacy, text);
      return nothing;
    }
  }
  if (option == nullptr) {
    const Option* elsewhere = find(name);
    fail_usage("override '{}': the group '{}' has no option '{}'{}", argument, group, name,
               elsewhere != nullptr ? fmt::format(" (it is in '{}')", elsewhere->group())
                                    : hint(name, ""));
  }
  return Assignment{option, option->read(argument.substr(equals + 1), left), left};
}

std::vector<OptionTable::Assignment> OptionTable::read_positionals(
    const std::vector<std::string>& arguments) const {
  std::vector<Assignment> assignments;
  size_t next = 0;
  for (size_t i = 0; i < positionals_.size() && next < arguments.size(); ++i) {
    Option* option = positionals_[i];
    const std::string shown = option->metavar();
    if (option->is_list()) {  // each argument is an element: a path may contain commas
      nlohmann::json elements(std::vector<std::string>(
          arguments.begin() + static_cast<std::ptrdiff_t>(next), arguments.end()));
      option->check(elements, shown);
      assignments.push_back({option, std::move(elements), shown});
      next = arguments.size();
    } else {
      assignments.push_back({option, option->read(arguments[next], shown), shown});
      ++next;
    }
  }
  if (next < arguments.size()) {
    fail_usage(
        "evomoe {}: unexpected argument '{}'; a value belongs behind its option, and an override "
        "has "
        "the form group.key=value",
        command_, arguments[next]);
  }
  return assignments;
}

std::vector<OptionTable::Assignment> OptionTable::without_overruled(
    const std::vector<Assignment>& assignments) const {
  std::vector<Assignment> kept;
  for (const auto& assignment : assignments) {
    const auto& condition = assignment.option->condition();
    const auto last = std::find_if(
        assignments.rbegin(), assignments.rend(),
        [&](const Assignment& other) { return other.option->name() == condition.option; });
    const bool is_overruled = last != assignments.rend() && last->source > assignment.source &&
                              std::find(condition.values.begin(), condition.values.end(),
                                        last->value) == condition.values.end();
    if (!is_overruled) kept.push_back(assignment);
  }
  return kept;
}

bool OptionTable::parse(const std::vector<std::string>& arguments) {
  notices_.clear();
  const NamedArguments named = read_named(arguments);
  if (named.help) return false;

  std::vector<Assignment> assignments;  // from the least to the most binding
  int source = 0;
  const auto append = [&](std::vector<Assignment> more) {
    for (auto& assignment : more) assignment.source = source;
    std::move(more.begin(), more.end(), std::back_inserter(assignments));
  };
  std::vector<Assignment> overrides;
  std::vector<std::string> unnamed;
  for (const auto& argument : named.rest) {
    if (auto assignment = read_override(argument)) {
      if (assignment->option != nullptr) overrides.push_back(std::move(*assignment));
    } else {
      unnamed.push_back(argument);
    }
  }
  std::map<std::string, std::string> given;
  for (const auto& override : overrides) given[override.option->key()] = value_text(override.value);
  for (const auto& [option, text] : named.options) given[option->key()] = text;
  std::vector<Mandatory> mandatory;
  for (const auto& path : named.config_files) {
    append(read_yaml_file(path, given, mandatory));
    ++source;
  }
  append(std::move(overrides));
  for (const auto& [flag, value] : named.legacy) take_legacy(*flag, value);

  std::vector<Assignment> line = read_positionals(unnamed);
  for (const auto& [option, text] : named.options) {
    const std::string shown = "--" + option->name();
    line.push_back({option, option->read(text, shown), shown});
  }
  for (const auto* shorthand : named.shorthands)
    line.push_back(*read_shorthand(*shorthand, "true", "--" + shorthand->name));
  for (size_t i = 0; i < line.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (line[i].option == line[j].option && line[i].value != line[j].value) {
        fail_usage("{} and {} contradict each other: --{} cannot be both '{}' and '{}'",
                   line[j].shown, line[i].shown, line[i].option->name(), value_text(line[j].value),
                   value_text(line[i].value));
      }
    }
  }
  append(std::move(line));
  for (const auto& [option, shown, remedy] : mandatory) {
    const bool given_elsewhere =
        std::any_of(assignments.begin(), assignments.end(),
                    [&, wanted = option](const Assignment& each) { return each.option == wanted; });
    if (!given_elsewhere) fail_usage("{}: ??? means that it must be given: {}", shown, remedy);
  }
  require(assignments);
  for (const auto& assignment : without_overruled(assignments)) {
    assignment.option->store(assignment.value, /*by_user=*/true);
  }
  for (const auto& option : options_) option->store_default();
  return true;
}

}  // namespace evomoe
