#include "evomoe/cli/completion.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "evomoe/cli/command_list.h"

namespace evomoe {
namespace {

using Tables = std::vector<std::shared_ptr<const OptionTable>>;

/// What may stand behind an option, or at a place of an unnamed argument.
struct Argument {
  /// kFlag: True or False, behind a = only.
  enum Kind { kNothing, kFlag, kText, kWord, kFile, kFolder } kind = kNothing;
  bool optional = false;           ///< the option may stand alone
  std::vector<std::string> words;  ///< of kWord
};

struct Completed {
  std::vector<std::string> names;
  std::string metavar, help;
  Argument argument;
};

Argument argument_of(const Option& option) {
  if (option.type() == OptionType::kFlag) return {Argument::kFlag, false, {}};
  const bool optional = option.bare().has_value();
  if (!option.choices().empty()) return {Argument::kWord, optional, option.choices()};
  if (option.is_file()) return {Argument::kFile, optional, {}};
  return {option.is_folder() ? Argument::kFolder : Argument::kText, optional, {}};
}

std::vector<Completed> options_of(const OptionTable& table) {
  std::vector<Completed> all;
  for (const auto& option : general_options()) {
    Argument argument{Argument::kNothing, false, {}};
    if (!option.metavar.empty()) argument.kind = Argument::kText;
    if (option.metavar == "FILE") argument.kind = Argument::kFile;
    if (option.metavar == "DIR") argument.kind = Argument::kFolder;
    all.push_back({option.names, option.metavar, option.help, argument});
  }
  for (const auto& option : table.options()) {
    std::vector<std::string> names = {spelled(option->name())};
    for (const auto& alias : option->aliases()) names.push_back(spelled(alias));
    all.push_back({names, option->metavar(), option->help(), argument_of(*option)});
  }
  for (const auto& shorthand : table.shorthands())
    all.push_back({{"--" + shorthand.name}, "", shorthand.help, {}});
  return all;
}

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? "'\\''" : std::string(1, c);
  return result + "'";
}

std::string quoted_list(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + quoted(word);
  return text;
}

std::string function_name(const std::string& command) {
  std::string name = "_evomoe_" + command;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == ' '; }, '_');
  return name;
}

/// The tables of the parts of a command: `bench layer` of `bench`.
Tables parts_of(const std::string& command, const Tables& tables) {
  Tables parts;
  for (const auto& table : tables) {
    if (table->command().starts_with(command + " ")) parts.push_back(table);
  }
  return parts;
}

std::string part_name(const OptionTable& table) {
  return table.command().substr(table.command().find(' ') + 1);
}

// --- bash
// ------------------------------------------------------------------------------------------------------------

std::string bash_case(const std::string& pattern, const Argument& argument) {
  constexpr const char* kKinds[] = {"none", "flag", "text", "word", "file", "folder"};
  const auto kind = fmt::format("{} kind={}", pattern, kKinds[argument.kind]);
  return fmt::format("    {}{}{} ;;\n", kind, argument.optional ? " optional=1" : "",
                     argument.words.empty() ? "" : " words=(" + quoted_list(argument.words) + ")");
}

/// A function that says what an option or place takes; for "names", which options there are.
std::string bash_function(const OptionTable& table) {
  std::vector<std::string> names;
  std::string cases;
  for (const auto& option : options_of(table)) {
    names.insert(names.end(), option.names.begin(), option.names.end());
    if (option.argument.kind != Argument::kNothing)
      cases += bash_case(fmt::format("{})", fmt::join(option.names, " | ")), option.argument);
  }
  int place = 0;
  for (const auto* option : table.positionals()) {
    cases += bash_case(option->is_list() ? "[0-9]*)" : fmt::format("{})", ++place),
                       argument_of(*option));
  }
  return fmt::format("{}() {{\n  case $1 in\n    names) words=({}) ;;\n{}  esac\n}}\n\n",
                     function_name(table.command()), fmt::join(names, " "), cases);
}

constexpr const char* kBashEnd = R"BASH(
# Adds the words that begin with $value to the answer, quoted where a shell needs it.
_evomoe_offer() {
  local word
  for word in "$@"; do
    [[ $word == "$value"* ]] || continue
    printf -v word %q "$word"
    COMPREPLY+=("$head$word")
  done
}

# Adds what $kind and $words allow for $value; $head is the text before it.
_evomoe_values() {
  local name option=-f
  case $kind in
    flag) _evomoe_offer True False ;;
    word) _evomoe_offer "${words[@]}" ;;
    file | folder)
      [[ $kind == folder ]] && option=-d
      if [[ $value == *[\\\'\"]* ]]; then  # quoted: readline knows how
        compopt -o default 2>/dev/null
        return
      fi
      compopt -o filenames 2>/dev/null
      if [[ $value == *:* ]]; then  # several, as a:b:c
        head+=${value%:*}: value=${value##*:}
      fi
      while IFS= read -r name; do COMPREPLY+=("$head$name"); done < <(compgen "$option" -- "$value")
      ;;
  esac
}

# Sets kind, optional and words: what may stand behind an option, or at a place.
_evomoe_about() {
  kind=none optional="" words=()
  "$about" "${1//_/-}"
}

_evomoe() {
  COMPREPLY=()
  # bash splits arguments at = and :, if COMP_WORDBREAKS says so. Here they are whole again.
  local -a line=()
  local i piece breaks='^[=:]+$'
  for ((i = 1; i <= COMP_CWORD; ++i)); do
    piece=${COMP_WORDS[i]}
    if ((${#line[@]} > 0)) && [[ $piece =~ $breaks || ${COMP_WORDS[i - 1]} =~ $breaks ]]; then
      line[${#line[@]} - 1]+=$piece
    else
      line+=("$piece")
    fi
  done
  local last=$((${#line[@]} - 1))
  local argument=${line[last]} value head="" first=1 about kind optional words
  value=$argument
  # Bash replaces the last piece only.
  piece=${COMP_WORDS[COMP_CWORD]}
  [[ $piece =~ $breaks ]] && piece=""
  local before=${argument%"$piece"}

  if ((last == 0)); then
    _evomoe_offer "${_evomoe_commands[@]}"
    return
  fi
  about=_evomoe_${line[0]//-/_}
  if [[ ${line[0]} == bench ]]; then
    if ((last == 1)); then
      _evomoe_offer "${_evomoe_benchmarks[@]}"
      return
    fi
    about+=_${line[1]} first=2
  fi
  declare -F "$about" >/dev/null || return

  # What is before the cursor: is an option waiting for its value, how many unnamed arguments are there?
  local waiting="" place=1 word
  for word in "${line[@]:first:last-first}"; do
    if [[ -n $waiting ]]; then
      _evomoe_about "$waiting"
      waiting=""
      [[ -z $optional || ${#words[@]} -eq 0 && $word != -* ]] && continue
      [[ ${#words[@]} -gt 0 && " ${words[*]} " == *" $word "* ]] && continue
    fi
    if [[ $word == -*=* || $word =~ ^\+*[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)?= ]]; then
      continue  # with its value, or group.key=value
    elif [[ $word == -?* ]]; then
      _evomoe_about "$word"
      [[ $kind != none && $kind != flag ]] && waiting=$word
    elif [[ $word != [Tt]rue && $word != [Ff]alse ]]; then  # else a flag's
      ((++place))
    fi
  done

  if [[ $argument == --*=* ]]; then
    head=${argument%%=*}= value=${argument#*=}
    _evomoe_about "${argument%%=*}"
    _evomoe_values
  else
    if [[ -n $waiting ]]; then
      _evomoe_about "$waiting"
      _evomoe_values
    fi
    if [[ -z $waiting || -n $optional ]]; then
      if [[ $argument != -* ]]; then
        _evomoe_about "$place"
        _evomoe_values
      fi
      if [[ $argument == -* || ${#COMPREPLY[@]} -eq 0 && -z $argument ]]; then
        value=${argument//_/-}
        _evomoe_about names
        _evomoe_offer "${words[@]}"
      fi
    fi
  fi
  for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${COMPREPLY[i]#"$before"}; done
}

complete -F _evomoe evomoe
)BASH";

// --- zsh
// -------------------------------------------------------------------------------------------------------------

/// Text within a specification of _arguments, and within single quotes.
std::string zsh_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
    escaped += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return escaped;
}

std::string zsh_action(const Argument& argument) {
  switch (argument.kind) {
    case Argument::kFlag:
      return "(True False)";
    case Argument::kWord: {
      std::string words;
      for (const auto& word : argument.words) {
        if (!words.empty()) words += ' ';
        for (const char c : word) {
          if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') words += '\\';
          words += c;
        }
      }
      return "(" + words + ")";
    }
    case Argument::kFile:
      return "_evomoe_paths";
    case Argument::kFolder:
      return "_evomoe_paths -/";
    default:
      return " ";
  }
}

std::string zsh_function(const OptionTable& table) {
  std::string specifications;
  for (const auto& option : options_of(table)) {
    const bool value = option.argument.kind != Argument::kNothing;
    const bool flag = option.argument.kind == Argument::kFlag;
    const char* sign = !value ? "" : flag ? "=-" : "=";  // "=-": behind a = only
    std::string names;
    for (const auto& name : option.names) {
      names += (names.empty() ? "" : ",") + name + (name.size() > 2 ? sign : value ? "+" : "");
    }
    const auto metavar = option.metavar.empty() ? "True or False" : option.metavar;
    std::string rest = fmt::format("[{}]", zsh_text(option.help));
    if (value) {
      rest += fmt::format("{}:{}:{}", flag || option.argument.optional ? ":" : "",
                          zsh_text(metavar), zsh_action(option.argument));
    }
    if (option.names.size() == 1) {
      specifications += fmt::format(" \\\n    '{}{}'", names, rest);
    } else {
      specifications +=
          fmt::format(" \\\n    '({})'{{{}}}'{}'", fmt::join(option.names, " "), names, rest);
    }
  }
  int place = 0;
  for (const auto* option : table.positionals()) {
    const std::string where = option->is_list() ? "*" : std::to_string(++place);
    specifications += fmt::format(" \\\n    '{}:{}:{}'", where, zsh_text(option->metavar()),
                                  zsh_action(argument_of(*option)));
  }
  return fmt::format("{}() {{\n  _arguments{}\n}}\n\n", function_name(table.command()),
                     specifications);
}

std::string zsh_choice(const std::string& what,
                       const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string text = "  local -a entries=(";
  for (const auto& [name, help] : entries)
    text += fmt::format("\n    '{}:{}'", name, zsh_text(help));
  return text + fmt::format("\n  )\n  _describe {} entries\n", what);
}

}  // namespace

std::string bash_completion(const Tables& tables) {
  std::string text =
      "# Completes command lines of evomoe in bash. Made by `evomoe options --completion "
      "bash`.\n\n";
  std::vector<std::string> commands, benchmarks;
  for (const auto& command : all_commands()) commands.push_back(command.name);
  commands.insert(commands.end(), {"--help", "--version"});
  for (const auto& part : parts_of("bench", tables)) benchmarks.push_back(part_name(*part));
  benchmarks.insert(benchmarks.end(), {"--help", "--list"});
  text += fmt::format("_evomoe_commands=({})\n_evomoe_benchmarks=({})\n\n",
                      fmt::join(commands, " "), fmt::join(benchmarks, " "));
  for (const auto& table : tables) text += bash_function(*table);
  return text + (kBashEnd + 1);
}

std::string zsh_completion(const Tables& tables) {
  std::string text =
      "#compdef evomoe\n# Completes command lines of evomoe in zsh. Made by `evomoe options "
      "--completion zsh`.\n\n"
      "# Paths, or several as a:b:c.\n"
      "_evomoe_paths() {\n  compset -P '*:'\n  _files \"$@\"\n}\n\n";
  for (const auto& table : tables) text += zsh_function(*table);
  std::vector<std::pair<std::string, std::string>> commands, benchmarks;
  for (const auto& command : all_commands()) commands.emplace_back(command.name, command.summary);
  for (const auto& part : parts_of("bench", tables))
    benchmarks.emplace_back(part_name(*part), part->summary());
  text += "_evomoe_command() {\n" + zsh_choice("command", commands) + "}\n\n";
  text += "_evomoe_benchmark() {\n" + zsh_choice("benchmark", benchmarks) + "}\n\n";
  text +=
      R"ZSH(# $1: what completes the next word; $2: begin of the names of the functions that complete the rest.
_evomoe_next() {
  local curcontext=$curcontext state line
  local -A opt_args
  _arguments -C '(- *)'{-h,--help}'[Shows help.]' ${3:+$3} "1: :$1" '*:: :->rest' && return
  if [[ $state == rest ]] && (( $+functions[${2}_${words[1]//-/_}] )); then
    ${2}_${words[1]//-/_}
  fi
}

_evomoe_bench() {
  _evomoe_next _evomoe_benchmark _evomoe_bench '(- *)--list[Names all suites and cases.]'
}

_evomoe() {
  _evomoe_next _evomoe_command _evomoe '(- *)--version[Prints the version.]'
}

# Found by its name, or read by source.
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _evomoe "$@"
else
  compdef _evomoe evomoe
fi
)ZSH";
  return text;
}

}  // namespace evomoe
