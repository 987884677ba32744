#pragma once

#include <string>
#include <utility>
#include <vector>

#include "evomoe/checkpoint/safetensors.h"

namespace evomoe {

/// Copies `source` into the destination tensors of the same names. Strict: missing, unknown,
/// wrongly shaped and wrongly typed tensors are one Error that lists them (the first ten of each
/// kind and how many there are); nothing is copied then. `what` names the source in the message,
/// e.g. "checkpoint runs/a/checkpoint_last".
void load_into(const std::vector<std::pair<std::string, torch::Tensor>>& destination,
               const TensorMap& source, const std::string& what = "checkpoint");

}  // namespace evomoe
