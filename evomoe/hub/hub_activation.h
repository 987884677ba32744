#pragma once

#include <string>

#include "evomoe/hub/hub_fields.h"

namespace evomoe {

/// The activation that a field names, as --activation-fn; `otherwise` where it is left out. Error:
/// none of ours.
std::string read_hub_activation(HubFields& fields, const std::string& name,
                                const std::string& otherwise);

/// How transformers calls an activation of ours.
std::string hub_activation(const std::string& ours);

}  // namespace evomoe
