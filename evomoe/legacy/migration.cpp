#include "evomoe/legacy/migration.h"

#include "evomoe/base/error.h"
#include "evomoe/legacy/embedded_files.h"

namespace evomoe {
namespace {

std::string without_bars(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.replace(at, 1, "\\|");
  return text;
}

void add_row(std::string& text, const std::vector<std::string>& names, const std::string& what,
             const std::string& note) {
  std::string flags;
  for (const auto& name : names) flags += (flags.empty() ? "`" : ", `") + spelled(name) + "`";
  text += fmt::format("| {} | {} | {} |\n", flags, what, without_bars(note));
}

/// The sections of a command: its options by group, then what has no effect, then what is refused.
std::string section(const OptionTable& table) {
  const auto& command = table.command();
  std::string text = fmt::format("## {}\n\n", command);
  const std::string head = "| flag | what happens here | note |\n|---|---|---|\n";
  std::string group = "\n";  // no group's name
  for (const auto& option : table.options()) {
    if (option->group() != group) {
      group = option->group();
      const bool first = text.compare(text.size() - 2, 2, "\n\n") == 0;
      text += fmt::format("{}### {}: {}\n\n{}", first ? "" : "\n", command,
                          group.empty() ? "general" : group, head);
    }
    std::vector<std::string> names = {option->name()};
    names.insert(names.end(), option->aliases().begin(), option->aliases().end());
    add_row(text, names, "works", option->help());
  }
  for (const auto& shorthand : table.shorthands())
    add_row(text, {shorthand.name}, "works", shorthand.help);
  if (table.legacy_flags().empty()) return text + "\n";
  text += fmt::format("\n### {}: without effect, or refused\n\n{}", command, head);
  for (const auto& group : table.legacy_groups()) {
    const auto& flag = group.front();
    std::vector<std::string> names;
    for (const auto& each : group) names.push_back(each.name);
    const std::string some =
        flag.harmless.empty() ? "accepted without effect"
                              : fmt::format("accepted when {}, else refused", harmless_text(flag));
    add_row(text, names, flag.refused ? "refused" : some, flag.note);
  }
  return text + "\n";
}

}  // namespace

std::string migration_markdown(const std::vector<std::shared_ptr<const OptionTable>>& tables) {
  std::string text(migration_md());
  const std::string mark = "<!-- tables -->\n";
  const auto place = text.find(mark);
  EVOMOE_CHECK(place != std::string::npos, "migration.md has no line {}", mark);
  std::string sections;
  for (const char* command :
       {"train", "validate", "eval-lm", "generate", "interactive", "score", "preprocess"}) {
    for (const auto& table : tables) {
      if (table->command() == command) sections += section(*table);
    }
  }
  sections.pop_back();
  return text.replace(place, mark.size(), sections);
}

}  // namespace evomoe
