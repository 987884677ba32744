#pragma once

#include <filesystem>
#include <string>

#include "evomoe/train/options.h"

namespace evomoe {

/// Makes the run folder `output` with one checkpoint, checkpoint_last, of the model in `folder`
/// (config.json and safetensors). Its dictionary is that of the data folder `data`; empty:
/// hub_dictionary(), and then the tokenizer comes into the run folder as well. Returns its options.
/// Error where read_hub_config or read_hub_files have one; for tensors that the model of
/// config.json does not have, or has in another shape, or that are missing (all of them are named);
/// for one of another type than float32, bfloat16 or float16; for a dictionary of another size.
/// Nothing is written then.
TrainOptions import_hub_model(const std::filesystem::path& folder, const std::string& data,
                              const std::filesystem::path& output);

}  // namespace evomoe
