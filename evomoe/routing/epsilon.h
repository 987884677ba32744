#pragma once

#include <torch/torch.h>

namespace evomoe {

/// The machine epsilon of a floating type, as torch.finfo(type).eps. Error: not a floating type.
double epsilon(torch::ScalarType type);

}  // namespace evomoe
