#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

/// The options of runs, as the config.yaml of their folders has them.
namespace evomoe {

struct RunSettings {
  std::map<std::string, std::string> value;  ///< by option, without dashes before it
  std::string problem;                       ///< why there are none; empty: there are
};

RunSettings read_run_settings(const std::filesystem::path& run_folder);

/// The options that are not the same in all runs that have settings, the folder they are written to
/// left out: [{"option": "lr", "values": ["0.1", null, ...]}, ...], a value for each run. A run
/// without settings, or without this option, has null.
nlohmann::ordered_json setting_differences(const std::vector<RunSettings>& runs);

}  // namespace evomoe
