#pragma once

#include <vector>

#include "evomoe/optim/named_parameter.h"

namespace evomoe {

/// The sum of the squares of all gradients, in double over fixed chunks: the same bits for any
/// number of threads. Undefined gradients count as zero. NaN or Inf when a gradient holds one.
double gradient_squares(const std::vector<NamedParameter>& parameters);

/// L2 norm of all gradients together, its root.
double gradient_norm(const std::vector<NamedParameter>& parameters);

/// min(1, clip_norm / (norm + 1e-6)), by which fairseq multiplies the gradients; 1 for clip_norm <=
/// 0 (no clipping).
double clip_coefficient(double norm, double clip_norm);

}  // namespace evomoe
