#pragma once

#include <torch/torch.h>

namespace evomoe::testing {

/// Makes `gradient` that of the parameter.
inline void set_grad(const torch::Tensor& parameter, const torch::Tensor& gradient) {
  auto handle = parameter;
  handle.mutable_grad() = gradient;
}

}  // namespace evomoe::testing
