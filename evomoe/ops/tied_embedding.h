#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace evomoe {

/// The rows `token` (int64, any shape) of table_VD [V,D] -> [..., D], for a table that is the
/// output projection as well. The backward pass adds their gradient to table_VD.grad() in place,
/// rather than hand it to LibTorch's autograd engine, which would make a second gradient [V,D] to
/// add it to the projection's. So it reaches only backward(), not autograd::grad. Rows of
/// padding_index get no gradient.
torch::Tensor tied_embedding(const torch::Tensor& table_VD, const torch::Tensor& token,
                             int64_t padding_index);

}  // namespace evomoe
