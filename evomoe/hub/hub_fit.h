#pragma once

#include <string>
#include <vector>

#include "evomoe/hub/hub_architecture.h"
#include "evomoe/models/gpt.h"

namespace evomoe {

/// What of a model of ours the architecture cannot say, as flags with what it would have to be;
/// empty: its models can be this one.
std::vector<std::string> what_hub_lacks(const HubArchitecture& architecture, const GptOptions& gpt);

}  // namespace evomoe
