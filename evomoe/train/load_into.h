#pragma once

#include <string>
#include <utility>
#include <vector>

#include "evomoe/checkpoint/safetensors.h"

namespace evomoe {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// Copies the weights `source`, of a checkpoint of ours, of fairseq or of any safetensors file,
/// into the tensors of a model of the same names. The rules are the same for all:
/// - floating types are converted;
/// - what a model makes itself (versions, tables of positions) and what has no elements is ignored;
/// - an embedding that the model ties may come under any of its names, and under several when they
///   are equal.
/// All else that is missing, unknown, of another shape or type or differs though it is tied is one
/// Error that lists it (the first ten of each kind and how many there are) and ends with `remedy`;
/// nothing is copied then. `what` names the source, e.g. "checkpoint runs/a/checkpoint_last".
void load_into(const NamedTensors& destination, const TensorMap& source, const std::string& what,
               const std::string& remedy);

/// Whether load_into would copy it.
bool fits_into(const NamedTensors& destination, const TensorMap& source);

}  // namespace evomoe
