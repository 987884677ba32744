#pragma once

#include <functional>
#include <string>
#include <vector>

#include "evomoe/hub/hub_architecture.h"
#include "evomoe/train/load_into.h"

namespace evomoe {

/// A tensor of a file of theirs: tensors of ours, one below the other (in the last but one axis; of
/// one axis, in that).
struct HubTensor {
  std::string name;
  std::vector<torch::Tensor> parts;  ///< views of ours

  std::vector<int64_t> sizes() const;
  /// The axis along which the parts follow each other.
  int64_t axis() const;
};

/// The tensors of ours, of the state of a language model, by their names in files of the
/// architecture. Each expert has tensors of its own, as in files of all versions; of a layer that
/// `fused` names ("model.layers.3.") they are together, as transformers 5 holds them. Error for a
/// tensor that has no name there.
std::vector<HubTensor> hub_tensors(const HubArchitecture& architecture, const NamedTensors& ours,
                                   const std::function<bool(const std::string&)>& fused);

}  // namespace evomoe
