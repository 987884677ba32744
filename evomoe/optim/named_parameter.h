#pragma once

#include <torch/torch.h>

#include <string>

namespace evomoe {

/// A trainable tensor and the name under which checkpoints, errors and logs speak of it.
struct NamedParameter {
  std::string name;
  torch::Tensor tensor;
};

}  // namespace evomoe
