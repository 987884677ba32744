#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/base/parameter_kind.h"

namespace evomoe {

/// A trainable tensor, the name under which checkpoints, errors and logs speak of it, and what it
/// is.
struct NamedParameter {
  std::string name;
  torch::Tensor tensor;
  ParameterKind kind = ParameterKind::kMatrix;
};

}  // namespace evomoe
