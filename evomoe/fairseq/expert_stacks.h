#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "evomoe/checkpoint/safetensors.h"

/// fairseq has tensors of each expert, `x.experts.3.fc1.weight`; here they are stacked,
/// `x.experts.w1`.
namespace evomoe {

/// Of each stacked tensor the experts' by their number.
using ExpertStacks = std::map<std::string, std::map<int64_t, torch::Tensor>>;

/// Moves the tensors of `from` to our names: others as they are, experts into `stacks` at
/// `first_expert` plus their number.
void sort_experts(const TensorMap& from, int64_t first_expert, TensorMap& plain,
                  ExpertStacks& stacks);

/// Adds the stacked tensors to `into`. Error, naming `file`, where the experts do not fit together
/// or one is missing.
void stack_experts(const ExpertStacks& stacks, const std::string& file, TensorMap& into);

}  // namespace evomoe
