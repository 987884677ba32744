#include "evomoe/loading/starting_weights.h"

#include <algorithm>
#include <string>
#include <utility>

#include "evomoe/models/feed_forward.h"

namespace evomoe {
namespace {

const std::string kMoe = ".moe_layer.", kHeads = "classification_heads.";

/// Which axis of a dense block's tensors counts its hidden units; -1: none.
constexpr ExpertWeightsOf<int64_t> kUnitAxis = {
    .w1_EHD = 0, .b1_EH = 0, .w2_EDH = 1, .b2_ED = -1, .w3_EHD = 0};

/// A dense block's tensor divided: what stays in the block beside the experts, which is like
/// `block`, and the expert's. Where the widths do not fit both are the whole, which no model with
/// them can load.
std::pair<torch::Tensor, torch::Tensor> divided(const torch::Tensor& dense,
                                                const torch::Tensor& block,
                                                const torch::Tensor& expert, int64_t unit_axis) {
  if (unit_axis < 0) return {dense, torch::zeros_like(dense)};
  const auto units = dense.size(unit_axis), of_block = block.size(unit_axis);
  if (of_block + expert.size(unit_axis) != units) return {dense, dense};
  return {dense.slice(unit_axis, 0, of_block), dense.slice(unit_axis, of_block, units)};
}

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
    if (other.contains(name)) continue;  // and of a dense block its expert says what becomes of it
    if (name.starts_with(kHeads)) state[name] = tensor;
    const auto moe = name.find(kMoe);
    if (!upcycle || moe == std::string::npos) continue;
    const auto layer = name.substr(0, moe);
    bool of_expert = false;
    for_each_weight(
        [&, &tensor_name = name, &own_tensor = tensor](const char* ours, const char* dense,
                                                       int64_t unit_axis) {
          if (tensor_name != layer + kMoe + "experts." + ours) return;
          of_expert = true;
          const auto dense_name = layer + "." + dense;
          const auto found = other.find(dense_name);
          if (found == other.end()) return;
          const auto block = own.find(dense_name);
          if (block == own.end()) {
            state[tensor_name] = found->second.unsqueeze(0);
            state.erase(dense_name);
            return;
          }
          const auto [of_block, of_one] =
              divided(found->second, block->second, own_tensor[0], unit_axis);
          state[dense_name] = of_block;
          state[tensor_name] = of_one.unsqueeze(0);
        },
        kExpertWeightNames, kDenseWeightNames, kUnitAxis);
    if (!of_expert) state[name] = tensor;  // the gate and what its router stores
  }
  for (const auto& [name, tensor] : other) {
    if (name.starts_with(kHeads) && !own.contains(name)) state.erase(name);
  }
  return state;
}

}  // namespace evomoe
