#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/hub/hub_architecture.h"
#include "evomoe/models/gpt.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// What a config.json says.
struct HubModel {
  const HubArchitecture* architecture = nullptr;
  TrainOptions options;  ///< that make the same model
  int64_t vocab_size = 0;
};

/// Reads FOLDER/config.json. An Error names the file, the field and what is allowed for an
/// architecture that is not known, a field that is missing, of another type or unknown (it might
/// change the model), a value that no model of ours has, and a quantised model.
HubModel read_hub_config(const std::filesystem::path& folder);

/// What of a model of ours the architecture cannot say, as flags with what it would have to be;
/// empty: its models can be this one.
std::vector<std::string> what_hub_lacks(const HubArchitecture& architecture, const GptOptions& gpt);

/// The config.json of a model of ours that it can say. `dtype`: of the file's tensors, as
/// transformers names it.
nlohmann::ordered_json hub_config(const HubArchitecture& architecture, const GptOptions& gpt,
                                  const std::string& dtype);

}  // namespace evomoe
