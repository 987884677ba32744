#include "evomoe/page/run_settings.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>

namespace evomoe {
namespace {

using nlohmann::ordered_json;

/// A value as one writes it behind its option.
std::string written(const YAML::Node& node) {
  if (!node.IsSequence()) return node.IsScalar() ? node.Scalar() : "";
  std::string text;
  for (const auto& element : node) {
    if (!text.empty()) text += ",";
    text += written(element);
  }
  return text;
}

void collect(const YAML::Node& node, RunSettings& settings) {
  for (const auto& entry : node) {
    if (entry.second.IsMap()) {
      collect(entry.second, settings);
      continue;
    }
    auto option = entry.first.Scalar();
    std::replace(option.begin(), option.end(), '_', '-');
    settings.value[option] = written(entry.second);
  }
}

}  // namespace

RunSettings read_run_settings(const std::filesystem::path& run_folder) {
  RunSettings settings;
  const auto path = run_folder / "config.yaml";
  if (!std::filesystem::exists(path)) {
    settings.problem = "it has no config.yaml";
    return settings;
  }
  try {
    const auto file = YAML::LoadFile(path.string());
    if (file.IsMap()) collect(file, settings);
    if (settings.value.empty()) settings.problem = "its config.yaml holds no options";
  } catch (const YAML::Exception& error) {
    settings = {{}, fmt::format("its config.yaml cannot be read: {}", error.what())};
  }
  return settings;
}

ordered_json setting_differences(const std::vector<RunSettings>& runs) {
  std::set<std::string> options;
  for (const auto& run : runs) {
    for (const auto& [option, value] : run.value) options.insert(option);
  }
  options.erase("save-dir");
  auto differences = ordered_json::array();
  for (const auto& option : options) {
    std::set<std::string> known;
    auto values = ordered_json::array();
    bool missing = false;
    for (const auto& run : runs) {
      const auto found = run.value.find(option);
      const bool has = found != run.value.end();
      values.push_back(has ? ordered_json(found->second) : ordered_json());
      if (has) known.insert(found->second);
      missing = missing || (!has && run.problem.empty());
    }
    if (known.size() + (missing ? 1 : 0) > 1)
      differences.push_back({{"option", option}, {"values", values}});
  }
  return differences;
}

}  // namespace evomoe
