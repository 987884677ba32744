// Options as YAML: `--config` files and the config.yaml of a run folder.
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"

namespace evomoe {
namespace {

std::string quoted(const std::string& text) {
  YAML::Emitter emitter;
  emitter << YAML::DoubleQuoted << text;
  return emitter.c_str();
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

}  // namespace

std::vector<OptionTable::Assignment> OptionTable::read_yaml_file(const std::string& path) {
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

  std::vector<Assignment> assignments;
  std::set<const Option*> seen;
  const auto take = [&](const std::string& group, const YAML::Node& key_node,
                        const YAML::Node& value) {
    const std::string key = key_node.Scalar();
    const std::string shown = fmt::format("{}: {}", where(path, key_node), key);
    Option* option = find(key);
    const LegacyFlag* legacy = option == nullptr ? find_legacy(key) : nullptr;
    if (legacy != nullptr) {
      const auto text = value.IsNull() ? "false" : scalar_text(value, shown);
      if (legacy->takes_value || text != "false") take_legacy(*legacy, text);
      return;
    }
    if (option == nullptr) fail_usage("{}: unknown option{}", shown, hint(key, ""));
    if (!group.empty() && option->group() != group) {
      fail_usage("{}: this option is not in the group '{}' but in '{}'", shown, group,
                 option->group());
    }
    if (!seen.insert(option).second) fail_usage("{}: given twice in this file", shown);
    if (value.IsNull()) {
      option->check(nullptr, shown);
      assignments.push_back({option, nullptr, shown});
      return;
    }
    assignments.push_back({option, option->read(scalar_text(value, shown), shown), shown});
  };
  for (const auto& entry : root) {
    const std::string key = entry.first.Scalar();
    if (entry.second.IsMap()) {
      if (!has_group(key) && find(key) != nullptr) {
        fail_usage("{}: {}: a single value or a list is needed here, not a group of keys",
                   where(path, entry.first), key);
      }
      if (!has_group(key)) {
        fail_usage("{}: there is no group '{}'{}", where(path, entry.first), key, hint(key, ""));
      }
      for (const auto& inner : entry.second) take(key, inner.first, inner.second);
    } else if (has_group(key) && entry.second.IsNull()) {
      continue;  // a group without options
    } else {
      take("", entry.first, entry.second);
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
    if (option->group() != group) {
      group = option->group();
      text += group + ":\n";
    }
    text += fmt::format("{}{}: {}\n", group.empty() ? "" : "  ", option->key(), yaml_text(value));
  }
  return text;
}

}  // namespace evomoe
