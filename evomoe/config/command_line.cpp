// Reading of the arguments of a command (OptionTable::parse).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>

#include "evomoe/base/error.h"
#include "evomoe/config/hydra_groups.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

/// `--update_freq` means `--update-freq`, as many scripts around fairseq write it.
std::string with_dashes(const std::string& argument) {
  if (argument.compare(0, 2, "--") != 0) return argument;
  const size_t end = std::min(argument.find('='), argument.size());
  std::string result = argument;
  std::replace(result.begin(), result.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  return result;
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

bool identifier(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

}  // namespace

/// What CLI11 found: the texts given for each name, in the order of the table, and the unnamed
/// rest.
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
  CLI::App app;
  app.set_help_flag();  // --help is ours
  app.allow_extras();
  const auto value = [&](const std::string& names) {
    return app.add_option(names)->expected(1)->multi_option_policy(
        CLI::MultiOptionPolicy::TakeLast);
  };
  CLI::Option* help = app.add_flag("-h,--help");
  CLI::Option* config_dir = value("--config-dir");
  CLI::Option* config_name = value("--config-name");
  CLI::Option* config =
      app.add_option("--config")->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  std::vector<CLI::Option*> found_options, found_shorthands, found_legacy;
  for (const auto& option : options_) {
    std::string names = "--" + option->name();
    if (option->name().size() == 1) names += "," + spelled(option->name());  // --x and -x
    for (const auto& alias : option->aliases()) names += "," + spelled(alias);
    found_options.push_back(option->type() == OptionType::kFlag ? app.add_flag(names)
                                                                : value(names));
  }
  for (const auto& shorthand : shorthands_)
    found_shorthands.push_back(app.add_flag("--" + shorthand.name));
  for (const auto& flag : legacy_) {
    const std::string name = spelled(flag.name);
    found_legacy.push_back(flag.takes_value ? value(name) : app.add_flag(name));
  }

  std::vector<std::string> reversed;  // CLI11 takes its arguments from the back
  for (auto it = arguments.rbegin(); it != arguments.rend(); ++it) {
    std::string argument = with_dashes(*it);
    const bool named = argument.compare(0, 2, "--") == 0;
    const Option* option = named ? find(argument.substr(2)) : nullptr;
    const LegacyFlag* legacy = named ? find_legacy(argument.substr(2)) : nullptr;
    const bool flag = option != nullptr ? option->type() == OptionType::kFlag
                                        : legacy != nullptr && !legacy->takes_value;
    if (flag && !reversed.empty() && is_python_bool(reversed.back())) {
      const std::string value = reversed.back();  // fairseq's `--left-pad-source False`
      reversed.pop_back();
      if (option != nullptr) argument += "=" + value;
      if (option == nullptr && is_false(value)) continue;
    }
    if (option != nullptr && option->bare()) {
      // Alone: what follows is none of its values; --remove-bpe may stand before a positional.
      const bool alone = reversed.empty() || (option->choices().empty()
                                                  ? is_name(reversed.back())
                                                  : !contains(option->choices(), reversed.back()));
      if (alone) argument += "=" + *option->bare();
    }
    reversed.push_back(std::move(argument));
  }
  try {
    app.parse(reversed);
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string text = error.what();  // "--lr: 1 required ..."
    fail_usage("evomoe {}: {} needs a value (see evomoe {} --help)", command_,
               text.substr(0, text.find(':')), command_);
  } catch (const CLI::ParseError& error) {
    fail_usage("evomoe {}: {} (see evomoe {} --help)", command_, error.what(), command_);
  }

  NamedArguments named;
  named.help = help->count() > 0;
  if ((config_dir->count() > 0) != (config_name->count() > 0)) {
    fail_usage("--config-dir and --config-name go together: the file is DIR/NAME.yaml");
  }
  if (config_name->count() > 0) {
    const std::string name = config_name->results().back();
    const bool suffixed = name.size() > 5 && name.compare(name.size() - 5, 5, ".yaml") == 0;
    named.config_files.push_back(config_dir->results().back() + "/" + name +
                                 (suffixed ? "" : ".yaml"));
  }
  if (config->count() > 0) {
    const auto files = config->results();
    named.config_files.insert(named.config_files.end(), files.begin(), files.end());
  }
  for (size_t i = 0; i < options_.size(); ++i) {
    if (found_options[i]->count() > 0) {
      named.options.emplace_back(options_[i].get(), found_options[i]->results().back());
    }
  }
  for (size_t i = 0; i < shorthands_.size(); ++i) {
    if (found_shorthands[i]->count() == 0) continue;
    const std::string value = found_shorthands[i]->results().back();
    if (value != "true") {
      fail_usage("--{}={}: this flag takes no value; leave it out, or use --{}",
                 shorthands_[i].name, value, shorthands_[i].target);
    }
    named.shorthands.push_back(&shorthands_[i]);
  }
  for (size_t i = 0; i < legacy_.size(); ++i) {
    if (found_legacy[i]->count() > 0) {
      named.legacy.emplace_back(&legacy_[i], found_legacy[i]->results().back());
    }
  }
  named.rest = app.remaining();
  for (const auto& argument : named.rest) {
    if (argument.size() < 2 || argument[0] != '-') continue;
    const std::string name = argument.substr(0, argument.find('='));
    fail_usage("evomoe {}: unknown option '{}'{}; evomoe {} --help lists all", command_, name,
               hint(name.substr(name.find_first_not_of('-') == std::string::npos
                                    ? name.size()
                                    : name.find_first_not_of('-')),
                    "--"),
               command_);
  }
  return named;
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
