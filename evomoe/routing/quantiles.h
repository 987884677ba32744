#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "evomoe/routing/routing.h"

namespace evomoe {

/// The values of each expert's column in float64 sums that micro-batches and ranks can add: for
/// `bins` > 0 a histogram over [least, most] (values outside count at its ends), else the quantiles
/// of this micro-batch times its tokens.
struct ColumnQuantiles {
  int64_t bins = 1000;
  double least = 0, most = 1;
  double share = 0;      ///< of the tokens: an expert is to have q = round(share * tokens) of them
  bool midpoint = true;  ///< between the q-th and the next largest value; false: the latter

  /// float64, [E * bins] or [E]. valid_T: bool [T] or undefined (all).
  torch::Tensor sums(const torch::Tensor& value_TE, const torch::Tensor& valid_T) const;
  /// float64 [E] of sums over `tokens` tokens, at least 1.
  torch::Tensor quantiles(const torch::Tensor& sums, int64_t tokens, int64_t num_experts) const;
};

}  // namespace evomoe
