// The two texts made from an OptionTable for people: `--help` and the reference page.
#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/base/text_layout.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

constexpr size_t kWidth = 100;
constexpr size_t kIndent = 34;  // column where the help begins

std::string entry(const std::string& left, const std::string& help) {
  std::string line = "  " + left;
  line += line.size() + 2 > kIndent ? "\n" + std::string(kIndent, ' ')
                                    : std::string(kIndent - line.size(), ' ');
  return line + wrap_words(help, kWidth, kIndent) + "\n";
}

std::string default_text(const Option& option) {
  if (option.type() == OptionType::kFlag && option.default_value() != true) return "";
  return value_text(option.default_value());
}

/// A cell of a Markdown table.
std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c == '<' ? "&lt;" : std::string(1, c);
  }
  return escaped;
}

std::string all_names(const Option& option, const std::string& before, const std::string& after) {
  std::string names = before + spelled(option.name()) + after;
  for (const auto& alias : option.aliases()) names += ", " + before + spelled(alias) + after;
  return names;
}

}  // namespace

std::string Option::full_help() const {
  std::string text = help();
  if (!choices_.empty()) text += fmt::format(" One of: {}.", fmt::join(choices_, ", "));
  const auto value = default_text(*this);
  if (!value.empty()) text += fmt::format(" (default {})", value);
  if (required_) text += " (needed)";
  return text;
}

const std::vector<GeneralOption>& general_options() {
  static const std::vector<GeneralOption> options = {
      {{"-h", "--help"}, "", "Shows this text."},
      {{"--config"},
       "FILE",
       "YAML file with options, flat or in groups; the command line wins over it."},
      {{"--config-dir"}, "DIR", "With --config-name: a file as Hydra's command lines name it."},
      {{"--config-name"}, "NAME", "The same as --config DIR/NAME.yaml."},
  };
  return options;
}

std::string harmless_text(const LegacyFlag& flag) {
  std::string text;
  for (const auto& value : flag.harmless)
    text += (text.empty() ? "" : " or ") + (value.empty() ? "empty" : value);
  return text;
}

std::vector<std::vector<LegacyFlag>> OptionTable::legacy_groups() const {
  std::vector<std::vector<LegacyFlag>> groups;
  for (const auto& flag : legacy_) {
    const auto same = std::find_if(groups.begin(), groups.end(), [&](const auto& group) {
      const LegacyFlag& first = group.front();
      return first.note == flag.note && first.refused == flag.refused &&
             first.harmless == flag.harmless;
    });
    if (same == groups.end()) {
      groups.push_back({flag});
    } else {
      same->push_back(flag);
    }
  }
  return groups;
}

std::string OptionTable::help_text() const {
  std::string text = "usage: evomoe " + command_;
  for (const auto* option : positionals_) {
    text += option->is_required() ? " " + option->metavar() : " [" + option->metavar() + "]";
  }
  text += " [--option value ...]";
  if (groups_.size() > 1) text += " [group.key=value ...]";
  text += fmt::format("\n\n{}\n", wrap_words("evomoe " + command_ + " " + summary_ + ".", kWidth));
  if (!examples_.empty()) text += "\nExamples:\n";
  for (const auto& [line, what] : examples_) text += fmt::format("  # {}\n  {}\n", what, line);

  for (const auto& group : groups_) {
    text +=
        group.name.empty() ? "\nGeneral\n" : fmt::format("\n{} ({})\n", group.title, group.name);
    if (group.name.empty()) {
      for (const auto& general : general_options()) {
        text += entry(fmt::format("{}{}{}", fmt::join(general.names, ", "),
                                  general.metavar.empty() ? "" : " ", general.metavar),
                      general.help);
      }
    }
    for (const auto& option : options_) {
      if (option->group() != group.name) continue;
      const std::string metavar = option->metavar();
      text += entry(all_names(*option, "", "") + (metavar.empty() ? "" : " " + metavar),
                    option->full_help());
    }
    for (const auto& shorthand : shorthands_) {
      if (at(shorthand.target).group() != group.name) continue;
      text += entry("--" + shorthand.name, fmt::format("{} The same as --{} {}.", shorthand.help,
                                                       shorthand.target, shorthand.value));
    }
  }
  if (!legacy_.empty()) {
    text += "\n" +
            wrap_words(
                "Flags of the reference that are not listed are accepted with a notice, or "
                "refused with a reason; `evomoe options --migration` lists them.",
                kWidth) +
            "\n";
  }
  return text;
}

std::string OptionTable::markdown() const {
  std::string text = fmt::format("## evomoe {}\n\n`evomoe {}` {}.\n", command_, command_, summary_);
  if (!examples_.empty()) {
    text += "\n```sh\n";
    for (const auto& [line, what] : examples_) text += fmt::format("# {}\n{}\n", what, line);
    text += "```\n";
  }
  for (const auto& group : groups_) {
    std::string rows;
    for (const auto& option : options_) {
      if (option->group() != group.name) continue;
      const auto value = default_text(*option);
      const std::string shown_default =
          option->is_required() ? "needed" : (value.empty() ? "" : "`" + cell(value) + "`");
      rows += fmt::format("| {} | {} | {} | {} |\n", all_names(*option, "`", "`"),
                          cell(option->allowed()), shown_default, cell(option->help()));
    }
    for (const auto& shorthand : shorthands_) {
      if (at(shorthand.target).group() != group.name) continue;
      rows += fmt::format("| `--{}` | true or false | | {} The same as `--{} {}`. |\n",
                          shorthand.name, cell(shorthand.help), shorthand.target, shorthand.value);
    }
    if (rows.empty()) continue;
    if (!group.name.empty()) text += fmt::format("\n### {} (`{}`)\n", group.title, group.name);
    text += "\n| option | value | default | meaning |\n| --- | --- | --- | --- |\n" + rows;
  }
  if (!legacy_.empty()) {
    text +=
        "\n### Flags of the reference without a counterpart\n\n| flag | what happens | why |\n| "
        "--- | --- | --- |\n";
    for (const auto& group : legacy_groups()) {
      std::string names;
      for (const auto& flag : group)
        names += (names.empty() ? "`" : ", `") + spelled(flag.name) + "`";
      const auto& flag = group.front();
      const std::string what =
          flag.refused ? "refused"
          : flag.harmless.empty()
              ? "no effect"
              : fmt::format("no effect when {}, else refused", harmless_text(flag));
      text += fmt::format("| {} | {} | {} |\n", names, what, cell(flag.note));
    }
  }
  return text;
}

}  // namespace evomoe
