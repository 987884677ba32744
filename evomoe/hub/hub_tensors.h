#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "evomoe/hub/hub_architecture.h"
#include "evomoe/models/gpt.h"
#include "evomoe/train/load_into.h"

namespace evomoe {

/// A tensor of a file of theirs: tensors of ours, one below the other (in the last but one axis; of
/// one axis, in that).
struct HubTensor {
  std::string name;
  std::vector<torch::Tensor> parts;  ///< views of ours
  bool transposed = false;           ///< theirs has the last two axes exchanged
  double scale = 1;                  ///< theirs is ours times this
  bool zeros = false;                ///< ours has none, where theirs is zero
  bool of_tokens = false;            ///< it has a row for each token

  /// Its shape there.
  std::vector<int64_t> sizes() const;
  /// What their file holds.
  torch::Tensor theirs() const;
  /// Copies it into the parts. Error: it should be zero and is not.
  void take(const torch::Tensor& theirs) const;

 private:
  /// The axis along which the parts follow each other.
  int64_t axis() const;
};

/// The tensors of ours, of the state of the language model `gpt`, by their names in files of the
/// architecture. Each expert has tensors of its own, as in files of all versions; of a layer that
/// `fused` names ("model.layers.3.") they are together, as transformers 5 holds them. Error for a
/// tensor that has no name there.
std::vector<HubTensor> hub_tensors(const HubArchitecture& architecture, const GptOptions& gpt,
                                   const NamedTensors& ours,
                                   const std::function<bool(const std::string&)>& fused);

}  // namespace evomoe
