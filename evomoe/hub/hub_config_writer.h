#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "evomoe/hub/hub_architecture.h"
#include "evomoe/models/gpt.h"

namespace evomoe {

/// The config.json of a model of ours that the architecture can say (hub_fit.h). `dtype`: of the
/// file's tensors, as transformers names it. `mask_padding`: --use-moe-pad-mask, which only our own
/// class has: without capacity it makes no difference. The ids of start, end and padding are
/// export_hub_text()'s.
nlohmann::ordered_json hub_config(const HubArchitecture& architecture, const GptOptions& gpt,
                                  const std::string& dtype, bool mask_padding);

}  // namespace evomoe
