#include "evomoe/cli/manual.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "evomoe/base/text_layout.h"
#include "evomoe/cli/command_list.h"

namespace evomoe {
namespace {

/// Text as troff takes it: what it would give another meaning, or print as another character, is
/// escaped, so that a command line can be copied out of a page.
std::string troff(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '\\':
        escaped += "\\e";
        break;
      case '-':
        escaped += "\\-";
        break;
      case '\'':
        escaped += "\\(aq";
        break;
      case '`':
        escaped += "\\(ga";
        break;
      case '^':
        escaped += "\\(ha";
        break;
      case '~':
        escaped += "\\(ti";
        break;
      case '.':
        escaped += escaped.empty() ? "\\&." : ".";  // a line that begins with one is a request
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

/// As troff(), in lines that fit into a terminal.
std::string prose(const std::string& text) {
  std::istringstream words(text);
  std::string escaped;
  for (std::string word; words >> word;) escaped += troff(word) + " ";
  return wrap_words(escaped, 79);
}

/// A command line, cut before options where it is long.
std::string command_lines(const std::string& line) {
  std::string result;
  size_t column = 0;
  for (size_t begin = 0; begin < line.size();) {
    const size_t option = line.find(" --", begin + 1);
    const auto piece = line.substr(begin, option - begin);
    if (column > 0 && column + piece.size() > 76) {
      result += " \\\n   ";
      column = 3;
    }
    result += piece;
    column += piece.size();
    begin = option == std::string::npos ? line.size() : option;
  }
  return result;
}

std::string bold(const std::string& text) { return "\\fB" + troff(text) + "\\fR"; }
std::string italic(const std::string& text) { return "\\fI" + troff(text) + "\\fR"; }

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string head(const std::string& page, const std::string& what, const std::string& version) {
  return fmt::format(
      ".\\\" Made by `evomoe options --man`; do not edit.\n"
      ".TH {} 1 \"\" \"evomoe {}\" \"evomoe\"\n.nh\n.ad l\n.SH NAME\n{} \\- {}\n",
      troff(upper(page)), version, troff(page), prose(what));
}

std::string entry(const std::vector<std::string>& names, const std::string& metavar,
                  const std::string& help) {
  std::string line;
  for (const auto& name : names) line += (line.empty() ? "" : ", ") + bold(name);
  if (!metavar.empty()) line += " " + italic(metavar);
  return fmt::format(".TP\n{}\n{}\n", line, prose(help));
}

std::vector<std::string> spellings(const Option& option) {
  std::vector<std::string> names = {spelled(option.name())};
  for (const auto& alias : option.aliases()) names.push_back(spelled(alias));
  return names;
}

std::string usage(const OptionTable& table) {
  std::string text = bold("evomoe " + table.command());
  for (const auto* option : table.positionals()) {
    const auto value = italic(option->metavar());
    text += option->is_required() ? " " + value : " [" + value + "]";
  }
  text += fmt::format(" [{} {} ...]", bold("--option"), italic("value"));
  if (table.groups().size() > 1) {
    text += fmt::format(" [{}.{}={} ...]", italic("group"), italic("key"), italic("value"));
  }
  return text + "\n";
}

/// `general`: with what every command has.
std::string options_of(const OptionTable& table, bool general) {
  std::string text;
  for (const auto& group : table.groups()) {
    std::string entries;
    if (group.name.empty() && general) {
      for (const auto& option : general_options())
        entries += entry(option.names, option.metavar, option.help);
    }
    for (const auto& option : table.options()) {
      if (option->group() == group.name)
        entries += entry(spellings(*option), option->metavar(), option->full_help());
    }
    for (const auto& shorthand : table.shorthands()) {
      if (table.at(shorthand.target).group() != group.name) continue;
      entries += entry({"--" + shorthand.name}, "",
                       fmt::format("{} The same as --{} {}.", shorthand.help, shorthand.target,
                                   shorthand.value));
    }
    if (entries.empty()) continue;
    if (!group.name.empty())
      text += fmt::format(".SS {} ({})\n", troff(group.title), troff(group.name));
    text += entries;
  }
  return text;
}

std::string examples_of(const OptionTable& table) {
  std::string text;
  for (const auto& example : table.examples()) {
    std::istringstream lines(command_lines(example.line));
    text +=
        fmt::format("{}{}:\n.PP\n.RS 4\n.nf\n", text.empty() ? "" : ".PP\n", prose(example.what));
    for (std::string line; std::getline(lines, line);) text += troff(line) + "\n";
    text += ".fi\n.RE\n";
  }
  return text;
}

constexpr const char* kExitStatus =
    ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed while running\n.TP\n2\nwrong use: an option, a "
    "value or a combination that is not possible\n.TP\n130, 143\nstopped by SIGINT or SIGTERM "
    "after a checkpoint\n";

}  // namespace

std::string program_manual(const std::string& version) {
  std::string text =
      head("evomoe", "trains sparse Mixture-of-Experts Transformers by evolution", version);
  text += ".SH SYNOPSIS\n" + bold("evomoe") + " " + italic("command") + " [" + bold("--option") +
          " " + italic("value") + " ...]\n.PP\n" + bold("evomoe --version") + "\n.PP\n" +
          bold("evomoe") + " " + italic("command") + " " + bold("--help") + "\n";
  text += ".SH DESCRIPTION\n" +
          prose(
              "One shared expert is trained first, it is diversified into several, and a "
              "dense-to-sparse gate begins by sending every token to all experts and is annealed "
              "until each token uses one (arXiv 2112.14397). Each command has a page of its own.") +
          "\n.SH COMMANDS\n";
  std::string pages;
  for (const auto& command : all_commands()) {
    text += fmt::format(".TP\n\\fBevomoe\\-{}\\fR(1)\n{}\n", troff(command.name),
                        prose(command.summary));
    pages += fmt::format("{}.BR evomoe\\-{} (1)", pages.empty() ? "" : " ,\n", troff(command.name));
  }
  return text + kExitStatus + ".SH SEE ALSO\n" + pages + "\n";
}

std::string command_manual(const std::string& command,
                           const std::vector<std::shared_ptr<const OptionTable>>& tables,
                           const std::string& version) {
  std::string text = head("evomoe-" + command, command_summary(command), version);
  text += ".SH SYNOPSIS\n";
  std::string description, examples, options;
  for (const auto& table : tables) {
    const bool whole = table->command() == command;
    if (&table != &tables.front()) text += ".PP\n", description += ".PP\n";
    text += usage(*table);
    description +=
        fmt::format("{} {}.\n", bold("evomoe " + table->command()), prose(table->summary()));
    examples += examples_of(*table);
    options += whole ? ".SH OPTIONS\n"
                     : fmt::format(".SH OPTIONS OF {}\n", troff(upper(table->command())));
    options += options_of(*table, /*general=*/&table == &tables.front());
    if (!table->legacy_flags().empty()) {
      options +=
          fmt::format(".SS {}\n{}\n", "Flags of fairseq",
                      prose("Those that are not listed are accepted with a notice, or "
                            "refused with a reason: evomoe options --migration lists them."));
    }
  }
  text += ".SH DESCRIPTION\n" + description + ".PP\n";
  text += prose(
      "An option may also be given as group.name=value, or stand in a YAML file that --config "
      "names. The command line wins over group.name=value, that over files.");
  text += "\n" + (examples.empty() ? "" : ".SH EXAMPLES\n" + examples) + options + kExitStatus;
  return text + ".SH SEE ALSO\n.BR evomoe (1)\n";
}

}  // namespace evomoe
