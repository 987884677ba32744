#include "evomoe/loading/starting_weights.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace evomoe {
namespace {

const std::string kMoe = ".moe_layer.", kHeads = "classification_heads.";

/// Name in an MoE layer, and in a dense block.
const std::vector<std::pair<std::string, std::string>> kExpertParts = {
    {".moe_layer.experts.w1", ".fc1.weight"},
    {".moe_layer.experts.b1", ".fc1.bias"},
    {".moe_layer.experts.w2", ".fc2.weight"},
    {".moe_layer.experts.b2", ".fc2.bias"}};

}  // namespace

bool is_dense(const TensorMap& state) {
  return std::none_of(state.begin(), state.end(), [](const auto& entry) {
    return entry.first.find(kMoe) != std::string::npos;
  });
}

TensorMap starting_state(const TensorMap& other, const TensorMap& own) {
  TensorMap state = other;
  const bool upcycle = is_dense(other);
  for (const auto& [name, tensor] : own) {
    if (other.contains(name)) continue;
    if (name.starts_with(kHeads)) state[name] = tensor;
    const auto moe = name.find(kMoe);
    if (!upcycle || moe == std::string::npos) continue;
    const auto layer = name.substr(0, moe);
    bool of_expert = false;
    for (const auto& [ours, dense] : kExpertParts) {
      if (name != layer + ours) continue;
      of_expert = true;
      if (const auto found = other.find(layer + dense); found != other.end()) {
        state[name] = found->second.unsqueeze(0);
        state.erase(layer + dense);
      }
    }
    if (!of_expert) state[name] = tensor;  // the gate and what its router stores
  }
  for (const auto& [name, tensor] : other) {
    if (name.starts_with(kHeads) && !own.contains(name)) state.erase(name);
  }
  return state;
}

}  // namespace evomoe
