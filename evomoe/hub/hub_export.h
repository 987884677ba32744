#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace evomoe {

struct HubExportOptions {
  std::string architecture;       ///< of hub_architecture_names(); empty: the first that fits
  std::string dtype = "float32";  ///< | float16 | bfloat16
  int64_t shard_bytes = int64_t{5} << 30;  ///< of a file; larger models are several
};

/// Writes the language model of a checkpoint of ours as a folder that transformers loads:
/// config.json and safetensors. What no architecture of theirs is becomes a model of our own class,
/// with the code to load it. Takes memory for one file of them. Returns the files. UsageError with
/// the reasons where none, or not the one asked for, is the same model; Error in the shared-expert
/// stage.
std::vector<std::filesystem::path> export_hub_model(const std::filesystem::path& checkpoint,
                                                    const std::filesystem::path& folder,
                                                    const HubExportOptions& options = {});

}  // namespace evomoe
