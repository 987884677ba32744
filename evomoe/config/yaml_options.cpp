// Options as YAML: `--config` files and the config.yaml of a run folder.
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/config/fairseq_groups.h"
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

/// The values of a file, in which `${group.key}` stands for another one.
class References {
 public:
  References(const YAML::Node& root, std::string path,
             const std::map<std::string, std::string>& given)
      : root_(root), path_(std::move(path)), given_(given) {}

  /// `text` with every reference replaced.
  std::string resolve(const std::string& text) const { return resolve(text, {}); }

 private:
  std::string resolve(const std::string& text, std::vector<std::string> within) const {
    std::string result;
    size_t at = 0;
    while (true) {
      const auto begin = text.find("${", at);
      if (begin == std::string::npos) return result + text.substr(at);
      const auto end = text.find('}', begin);
      if (end == std::string::npos)
        fail_usage("--config {}: '{}' has a '${{' without its '}}'", path_, text);
      const auto name = text.substr(begin + 2, end - begin - 2);
      if (std::find(within.begin(), within.end(), name) != within.end())
        fail_usage("--config {}: ${{{}}} refers to itself ({})", path_, name,
                   fmt::join(within, " -> "));
      auto deeper = within;
      deeper.push_back(name);
      result += text.substr(at, begin - at) + resolve(value_of(name), std::move(deeper));
      at = end + 1;
    }
  }

  /// What the command line or the file says of `group.key`.
  std::string value_of(const std::string& name) const {
    const auto dot = name.rfind('.');
    auto key = dot == std::string::npos ? name : name.substr(dot + 1);
    std::replace(key.begin(), key.end(), '-', '_');
    if (const auto found = given_.find(key); found != given_.end()) return found->second;
    YAML::Node node = YAML::Clone(root_);
    for (size_t begin = 0; begin <= name.size();) {
      const auto end = std::min(name.find('.', begin), name.size());
      const auto part = name.substr(begin, end - begin);
      if (!node.IsMap() || !node[part])
        fail_usage("--config {}: ${{{}}}: neither the file nor the command line has a value for it",
                   path_, name);
      node = YAML::Clone(node[part]);
      begin = end + 1;
    }
    return scalar_text(node, fmt::format("--config {}: ${{{}}}", path_, name));
  }

  const YAML::Node& root_;
  std::string path_;
  const std::map<std::string, std::string>& given_;
};

}  // namespace

std::vector<OptionTable::Assignment> OptionTable::read_yaml_file(
    const std::string& path, const std::map<std::string, std::string>& given) {
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

  const References references(root, path, given);
  std::vector<Assignment> assignments;
  std::set<const Option*> seen;
  const auto take = [&](const std::string& group, const YAML::Node& key_node,
                        const YAML::Node& value) {
    const std::string written = key_node.Scalar();
    // Of Hydra itself, and OmegaConf's "to be given".
    if (written == "_group_" || (value.IsScalar() && value.Scalar() == "???")) return;
    const bool choice = written == "_name" && !chosen_option(group).empty();
    const std::string key = choice ? chosen_option(group) : written;
    const std::string shown = fmt::format("{}: {}", where(path, key_node), written);
    const auto text_of = [&] {
      const auto text = references.resolve(scalar_text(value, shown));
      return choice ? chosen_value(group, text) : text;
    };
    Option* option = find(key);
    const LegacyFlag* legacy = option == nullptr ? find_legacy(key) : nullptr;
    if (legacy != nullptr) {
      const auto text = value.IsNull() ? "false" : text_of();
      if (legacy->takes_value || text != "false") take_legacy(*legacy, text);
      return;
    }
    if (option == nullptr) fail_usage("{}: unknown option{}", shown, hint(key, ""));
    if (!group.empty() && find_for_group(group, key) == nullptr) {
      fail_usage("{}: this option is not in the group '{}' but in '{}'", shown, group,
                 option->group());
    }
    if (!seen.insert(option).second) fail_usage("{}: given twice in this file", shown);
    if (value.IsNull()) {
      option->check(nullptr, shown);
      assignments.push_back({option, nullptr, shown});
      return;
    }
    // fairseq's way of saying "not given".
    if (option->is_optional() && value.IsScalar() && value.Scalar() == "null") return;
    assignments.push_back({option, option->read(text_of(), shown), shown});
  };
  for (const auto& entry : root) {
    const std::string key = entry.first.Scalar();
    if (key == "defaults" || key == "hydra") continue;  // of Hydra itself
    const bool group = has_group(key) || is_fairseq_group(key);
    if (entry.second.IsMap()) {
      if (!group && find(key) != nullptr) {
        fail_usage("{}: {}: a single value or a list is needed here, not a group of keys",
                   where(path, entry.first), key);
      }
      if (!group) {
        fail_usage("{}: there is no group '{}'{}", where(path, entry.first), key, hint(key, ""));
      }
      for (const auto& inner : entry.second) take(key, inner.first, inner.second);
    } else if (group && entry.second.IsNull()) {
      continue;  // a group without options
    } else if (const auto choice = chosen_option(key); entry.second.IsScalar() &&
                                                       find(key) == nullptr && !choice.empty()) {
      Option* option = find(choice);
      const auto shown = fmt::format("{}: {}", where(path, entry.first), key);
      if (option == nullptr) fail_usage("{}: unknown option{}", shown, hint(key, ""));
      const auto text = chosen_value(key, references.resolve(entry.second.Scalar()));
      assignments.push_back({option, option->read(text, shown), shown});
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
