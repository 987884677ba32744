#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace evomoe {

/// Nearly the orthogonal factor U V^T of each matrix U S V^T in x [..., rows, columns]: `steps` of
/// Newton-Schulz with the quintic of Keller Jordan's Muon, X <- a X + (b A + c A^2) X, A = X X^T,
/// (a, b, c) = (3.4445, -4.7750, 2.0315), from x over its Frobenius norm. Singular values end
/// within about [0.7, 1.2]. In the type of x; a matrix of zeros stays zero.
torch::Tensor orthogonalize(const torch::Tensor& x, int64_t steps = 5);

}  // namespace evomoe
