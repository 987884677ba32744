#pragma once

#include "evomoe/hub/hub_architecture.h"
#include "evomoe/hub/hub_fields.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// Sets the options of a model of the family kLlama from the fields of its config.json. Errors of
/// read_hub_config().
void read_llama_config(HubFields& fields, const HubArchitecture& architecture,
                       TrainOptions& options);

}  // namespace evomoe
