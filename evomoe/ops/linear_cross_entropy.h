#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace evomoe {

/// The cross-entropy of a linear output layer, without ever holding the T x V logits: the rows go
/// through in chunks, and where a gradient is needed it is made in the same pass.
/// x_TD [T,D], weight_VD [V,D] of one floating type; target_T int64 [T].
/// Returns the sum of -log softmax(x . weight^T)[target] in nats over the rows whose target is not
/// `ignore_index`: a float64 scalar (the log-softmax is taken in float32, rows add up in double).
/// Errors: shapes or types that do not fit, a target outside [0, V).
torch::Tensor linear_cross_entropy(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                                   const torch::Tensor& target_T, int64_t ignore_index);

/// How many of `rows` rows have their logits in memory at a time.
int64_t logit_rows(int64_t rows, int64_t vocabulary);

/// log softmax(x . weight^T)[target] of every row, float32 [T] (float64 for float64 input), off the
/// graph.
torch::Tensor linear_log_probability(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                                     const torch::Tensor& target_T);

}  // namespace evomoe
