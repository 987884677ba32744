#pragma once

#include <nlohmann/json.hpp>

#include "evomoe/hub/hub_architecture.h"
#include "evomoe/hub/hub_fields.h"
#include "evomoe/models/gpt.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// Sets layers, widths, heads, positions and activation from a config.json. Of an architecture with
/// experts the feed-forward width is theirs. Errors of read_hub_config().
void read_hub_shape(HubFields& fields, const HubArchitecture& architecture, TrainOptions& options);

/// Writes the same fields into a config.json.
void add_hub_shape(const HubArchitecture& architecture, const GptOptions& gpt,
                   nlohmann::ordered_json& config);

}  // namespace evomoe
