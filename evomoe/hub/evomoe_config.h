#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/hub/hub_fields.h"
#include "evomoe/models/gpt.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// The routing methods that modeling_evomoe.py has.
const std::vector<std::string>& evomoe_routers();

/// Sets the options of a model of our own class (modeling_evomoe.py) from the fields of its
/// config.json. Errors of read_hub_config().
void read_evomoe_config(HubFields& fields, TrainOptions& options);

/// Adds those fields of a model of ours, of which hub_fit.h says that the class has it.
/// `mask_padding`: --use-moe-pad-mask.
void add_evomoe_config(const GptOptions& gpt, bool mask_padding, nlohmann::ordered_json& config);

}  // namespace evomoe
