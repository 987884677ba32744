// Options as YAML: `--config` files and the config.yaml of a run folder.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"
#include "evomoe/config/hydra_groups.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

/// yaml-cpp's tag of a scalar between quotation marks.
constexpr const char* kQuoted = "!";

/// A text as read_yaml_file() reads it back: `${` in it is no reference.
std::string quoted(std::string text) {
  for (size_t at = 0; (at = text.find("${", at)) != std::string::npos; at += 3)
    text.insert(at, "\\");
  YAML::Emitter emitter;
  emitter << YAML::DoubleQuoted << text;
  return emitter.c_str();
}

bool is_utf8_json(const nlohmann::json& value) {
  try {
    json_text(value, -1, BadUtf8::kThrow);
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
  return true;
}

std::string yaml_text(const nlohmann::json& value) {
  if (value.is_string()) return quoted(value.get<std::string>());
  if (!value.is_array()) return value_text(value);
  std::string text;
  for (const auto& element : value) text += (text.empty() ? "" : ", ") + yaml_text(element);
  return "[" + text + "]";
}

std::string where(const std::string& path, const YAML::Node& node) {
  return fmt::format("{}:{}", path, node.Mark().line + 1);
}

/// The name before a colon.
std::string key_text(const YAML::Node& node, const std::string& path) {
  if (!node.IsScalar())
    fail_usage("{}: the name of an option or group is needed before the colon", where(path, node));
  return node.Scalar();
}

/// The elements of a YAML list, or one scalar, as the command line would write them.
std::string scalar_text(const YAML::Node& node, const std::string& shown) {
  if (node.IsScalar()) return node.Scalar();
  if (!node.IsSequence())
    fail_usage("{}: a single value or a list is needed here, not a group of keys", shown);
  std::string text;
  for (const auto& element : node) {
    if (!element.IsScalar())
      fail_usage("{}: the elements of the list must be single values", shown);
    if (!text.empty()) text += ",";
    text += element.Scalar();
  }
  return text;
}

/// The node that `group.key` names, or an option of this key anywhere in the file.
YAML::Node find_value(const YAML::Node& root, const std::string& name, const std::string& key) {
  const size_t dot = name.find('.');
  if (dot != std::string::npos) {
    const YAML::Node group = root[name.substr(0, dot)];
    if (group.IsDefined() && group.IsMap() && group[name.substr(dot + 1)].IsDefined())
      return group[name.substr(dot + 1)];
  }
  const auto is_key = [&](const YAML::Node& node) {
    auto text = node.Scalar();
    std::replace(text.begin(), text.end(), '-', '_');
    return text == key;
  };
  for (const auto& entry : root) {
    if (!entry.second.IsMap()) {
      if (is_key(entry.first)) return entry.second;
      continue;
    }
    for (const auto& inner : entry.second) {
      if (is_key(inner.first)) return inner.second;
    }
  }
  return YAML::Node(YAML::NodeType::Undefined);
}

}  // namespace

std::vector<OptionTable::Assignment> OptionTable::read_yaml_file(
    const std::string& path, const std::map<std::string, std::string>& given,
    std::vector<Mandatory>& mandatory) {
  if (std::filesystem::is_directory(path)) {
    fail_usage("--config {}: it is a folder; name the YAML file, such as {}", path,
               (std::filesystem::path(path) / "config.yaml").string());
  }
  YAML::Node root;
  try {
    root = YAML::LoadFile(path);
  } catch (const YAML::BadFile&) {
    fail_usage("--config {}: the file cannot be read; check the path", path);
  } catch (const YAML::ParserException& error) {
    fail_usage("--config {}: line {} is not YAML: {}", path, error.mark.line + 1, error.msg);
  }
  if (root.IsNull()) return {};
  if (!root.IsMap())
    fail_usage("--config {}: the file must hold `option: value` lines, or groups of them", path);

  // What `${group.key}` means: the command line's value, else this file's, else the default.
  // References of references can become more than any machine could write down.
  constexpr int kMostReferences = 1000;
  int references = 0;
  const std::function<std::string(const std::string&, const std::string&, std::vector<std::string>)>
      resolve = [&](const std::string& text, const std::string& shown,
                    std::vector<std::string> chain) -> std::string {
    const size_t begin = text.find("${");
    if (begin == std::string::npos) return text;
    if (begin > 0 && text[begin - 1] == '\\')  // not a reference, as in OmegaConf
      return text.substr(0, begin - 1) + "${" + resolve(text.substr(begin + 2), shown, chain);
    const size_t end = text.find('}', begin);
    if (end == std::string::npos) fail_usage("{}: '{}' lacks the closing brace", shown, text);
    if (++references > kMostReferences)
      fail_usage("--config {}: more than {} references like ${{...}}", path, kMostReferences);
    const std::string name = text.substr(begin + 2, end - begin - 2);
    if (std::find(chain.begin(), chain.end(), name) != chain.end()) {
      fail_usage("{}: the references form a circle: {} -> {}", shown, fmt::join(chain, " -> "),
                 name);
    }
    const size_t dot = name.find('.');
    const std::string key = name.substr(dot == std::string::npos ? 0 : dot + 1);
    const Option* option = find(key);
    if (option == nullptr) {
      fail_usage("{}: ${{{}}} refers to an option that there is not{}", shown, name, hint(key, ""));
    }
    chain.push_back(name);
    std::string value;
    if (const auto told = given.find(option->key()); told != given.end()) {
      value = resolve(told->second, shown, chain);
    } else if (const auto node = find_value(root, name, option->key()); node.IsDefined()) {
      value = resolve(scalar_text(node, shown), shown, chain);
    } else {
      value = value_text(option->default_value());
    }
    if (value.empty()) fail_usage("{}: ${{{}}} has no value; give it one", shown, name);
    chain.pop_back();
    return text.substr(0, begin) + value + resolve(text.substr(end + 1), shown, chain);
  };

  std::vector<Assignment> assignments;
  std::set<const Option*> seen;
  const auto take = [&](const std::string& group, const YAML::Node& key_node,
                        const YAML::Node& value) {
    const std::string key = key_text(key_node, path);
    const std::string shown = fmt::format("{}: {}", where(path, key_node), key);
    if (key == "_group_") return;  // Hydra's own
    Option* option = key == "_name" || key == "_name_" ? option_of_group(group) : find(key);
    if (option == nullptr && (key == "_name" || key == "_name_")) {
      if (is_hydra_group(group)) return;  // e.g. the bpe of a command that reads no text
      fail_usage("{}: the group '{}' has nothing to name", shown, group);
    }
    if (const auto* shorthand = option == nullptr ? find_shorthand(key) : nullptr) {
      const auto text = value.IsNull() ? "false" : scalar_text(value, shown);
      if (auto assignment = read_shorthand(*shorthand, text, shown))
        assignments.push_back(std::move(*assignment));
      return;
    }
    const LegacyFlag* legacy = option == nullptr ? find_legacy(key) : nullptr;
    if (legacy != nullptr) {
      if (value.IsNull()) return;
      take_legacy(*legacy, scalar_text(value, shown));
      return;
    }
    if (option == nullptr) fail_usage("{}: unknown option{}", shown, hint(key, ""));
    if (!group.empty() && key[0] != '_' && !admits(group, *option)) {
      fail_usage("{}: this option is not in the group '{}' but in '{}'", shown, group,
                 option->group());
    }
    if (!seen.insert(option).second) fail_usage("{}: given twice in this file", shown);
    if (value.IsScalar() && value.Scalar() == "???" && value.Tag() != kQuoted) {
      const std::string name =
          group.empty() ? spelled(option->name()) : group + "." + key + "=VALUE";
      mandatory.push_back({option, shown, "add " + name + " to the command"});
      return;
    }
    if (option->bare() && value.IsScalar() && value.Scalar() == "false") return;
    if (value.IsNull()) {
      option->check(nullptr, shown);
      assignments.push_back({option, nullptr, shown});
      return;
    }
    assignments.push_back({option, nullptr, shown});
    std::string text = resolve(scalar_text(value, shown), shown, {});
    if (option->bare() && text == "true") text = *option->bare();
    if (key[0] == '_') text = group_choice(group, text);
    assignments.back().value = option->read(text, shown);
  };
  for (const auto& entry : root) {
    const std::string key = key_text(entry.first, path);
    if (key == "hydra") continue;  // where Hydra writes its own files
    if (key == "defaults" && entry.second.IsSequence()) continue;
    if (entry.second.IsMap()) {
      if (!has_group(key) && !is_hydra_group(key) && find(key) != nullptr) {
        fail_usage("{}: {}: a single value or a list is needed here, not a group of keys",
                   where(path, entry.first), key);
      }
      if (!has_group(key) && !is_hydra_group(key)) {
        fail_usage("{}: {}", where(path, entry.first), no_such_group(groups_, key));
      }
      for (const auto& inner : entry.second) take(key, inner.first, inner.second);
    } else if ((has_group(key) || is_hydra_group(key)) && entry.second.IsNull()) {
      continue;  // a group without options
    } else {
      take("", entry.first, entry.second);
    }
  }
  // What the file says itself counts before a choice among the defaults, wherever it stands.
  if (const auto defaults = root["defaults"]; defaults.IsDefined() && defaults.IsSequence()) {
    for (const auto& choice : defaults) {
      if (!choice.IsMap()) continue;  // _self_
      for (const auto& chosen : choice) {
        const std::string name = chosen.first.Scalar();
        const std::string group = name.compare(0, 9, "override ") == 0 ? name.substr(9) : name;
        Option* option = option_of_group(group);
        if (option == nullptr || chosen.second.IsNull() ||
            find_value(root, group + "._name", "").IsDefined()) {
          continue;  // the group itself says it
        }
        if (!seen.insert(option).second) continue;
        const std::string shown = fmt::format("{}: defaults: {}", where(path, chosen.first), group);
        assignments.push_back(
            {option, option->read(group_choice(group, chosen.second.Scalar()), shown), shown});
      }
    }
  }
  for (size_t i = 0; i < assignments.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const auto &one = assignments[j], &other = assignments[i];
      if (one.option == other.option && one.value != other.value) {
        fail_usage("{} and {} contradict each other: {} cannot be both '{}' and '{}'", one.shown,
                   other.shown, one.option->key(), value_text(one.value), value_text(other.value));
      }
    }
  }
  return assignments;
}

std::string OptionTable::to_yaml() const {
  std::string text = fmt::format("# evomoe {} --config <this file> repeats the run.\n", command_);
  std::string group;
  for (const auto& option : options_) {
    const auto value = option->value();
    if (value.is_null() || (value.is_string() && value.get<std::string>().empty()) ||
        (value.is_array() && value.empty())) {
      continue;  // not given
    }
    if (!is_utf8_json(value)) {
      fail_usage("--{} {}: this is not UTF-8, in which options are stored; rename it",
                 option->name(), value_text(value));
    }
    if (option->group() != group) {
      group = option->group();
      text += group + ":\n";
    }
    text += fmt::format("{}{}: {}\n", group.empty() ? "" : "  ", option->key(), yaml_text(value));
  }
  return text;
}

}  // namespace evomoe
