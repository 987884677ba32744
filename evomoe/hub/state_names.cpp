#include "evomoe/hub/state_names.h"

#include <charconv>

#include "evomoe/base/error.h"

namespace evomoe {

std::optional<BlockTensorName> parse_block_tensor(const std::string& name) {
  static const std::string blocks = "decoder.layers.";
  if (!name.starts_with(blocks)) return std::nullopt;
  const auto end = name.find('.', blocks.size());
  if (end == std::string::npos) return std::nullopt;
  BlockTensorName parsed;
  const auto* const last = name.data() + end;
  const auto [read, error] = std::from_chars(name.data() + blocks.size(), last, parsed.layer);
  if (error != std::errc() || read != last) return std::nullopt;
  parsed.block = name.substr(0, end + 1);
  parsed.rest = name.substr(end + 1);
  return parsed;
}

const torch::Tensor& tensor_named(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [each, tensor] : tensors) {
    if (each == name) return tensor;
  }
  fail("the model has no {}", name);
}

bool is_of_training(const std::string& name) { return name.ends_with(".moe_layer.gate.threshold"); }

}  // namespace evomoe
