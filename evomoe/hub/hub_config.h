#pragma once

#include <cstdint>
#include <filesystem>

#include "evomoe/hub/hub_architecture.h"
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

}  // namespace evomoe
