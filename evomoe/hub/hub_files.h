#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "evomoe/checkpoint/safetensors.h"

namespace evomoe {

/// The safetensors files of a model's folder: model.safetensors, or the shards that
/// model.safetensors.index.json lists.
struct HubFiles {
  struct Place {
    std::filesystem::path file;
    SafetensorsEntry entry;
  };
  std::map<std::string, Place> tensors;
  std::vector<std::filesystem::path> files;

  bool has(const std::string& name) const { return tensors.contains(name); }
};

/// Reads the headers. Error: no such files, shards that are absent (all of them), a tensor that the
/// index places in a file that does not have it, or that two files have.
HubFiles read_hub_files(const std::filesystem::path& folder);

/// A tensor that is to be written.
struct HubFileTensor {
  std::string name;
  int64_t elements = 0;
  std::function<torch::Tensor()> make;  ///< called when its file is written
};

/// A model's file, or files of at most `shard_bytes` with their index (one tensor at least), each
/// with the tensors of it alone in memory. Returns them.
std::vector<std::filesystem::path> write_hub_files(const std::filesystem::path& folder,
                                                   const std::vector<HubFileTensor>& tensors,
                                                   int64_t shard_bytes, torch::ScalarType dtype);

}  // namespace evomoe
