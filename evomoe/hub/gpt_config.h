#pragma once

#include "evomoe/hub/hub_architecture.h"
#include "evomoe/hub/hub_fields.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// Sets the options of a model of the family kFairseq (XGLM, BioGPT) from the fields of its
/// config.json, beside those of read_hub_shape(). Errors of read_hub_config().
void read_fairseq_config(HubFields& fields, const HubArchitecture& architecture,
                         TrainOptions& options);

/// The same of GPT-2.
void read_gpt2_config(HubFields& fields, TrainOptions& options);

}  // namespace evomoe
