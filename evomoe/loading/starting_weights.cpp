#include "evomoe/loading/starting_weights.h"

#include <algorithm>
#include <string>

#include "evomoe/models/feed_forward.h"

namespace evomoe {
namespace {

const std::string kMoe = ".moe_layer.", kHeads = "classification_heads.";

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
    for_each_weight(
        [&, &tensor_name = name](const char* ours, const char* dense) {
          if (tensor_name != layer + kMoe + "experts." + ours) return;
          of_expert = true;
          if (const auto found = other.find(layer + "." + dense); found != other.end()) {
            state[tensor_name] = found->second.unsqueeze(0);
            state.erase(layer + "." + dense);
          }
        },
        kExpertWeightNames, kDenseWeightNames);
    if (!of_expert) state[name] = tensor;  // the gate and what its router stores
  }
  for (const auto& [name, tensor] : other) {
    if (name.starts_with(kHeads) && !own.contains(name)) state.erase(name);
  }
  return state;
}

}  // namespace evomoe
