#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/train/load_into.h"

/// The names of a decoder's tensors in our checkpoints.
namespace evomoe {

/// A tensor of a block: "decoder.layers.3.fc1.weight" is layer 3, "fc1.weight".
struct BlockTensorName {
  int64_t layer = 0;
  std::string block;  ///< "decoder.layers.3."
  std::string rest;
};

/// Nothing: it is outside of blocks.
std::optional<BlockTensorName> parse_block_tensor(const std::string& name);

/// Error where there is none of this name.
const torch::Tensor& tensor_named(const NamedTensors& tensors, const std::string& name);

/// What a router keeps for its training alone.
bool is_of_training(const std::string& name);

}  // namespace evomoe
