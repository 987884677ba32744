#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace evomoe {

struct LinearCrossEntropyOptions {
  int64_t ignore_index = -1;  ///< rows with this target have no part
  torch::Tensor bias_V;       ///< of the output layer; undefined: none
  /// The share epsilon of the target's probability that the V - 1 others have together; fairseq's
  /// form: (1 - epsilon - e) nll + e * sum over v of -log p_v, with e = epsilon / (V - 1).
  double label_smoothing = 0.0;
  bool count_correct = false;
};

struct LinearCrossEntropy {
  torch::Tensor loss;   ///< float64 scalar on the graph, in nats, a sum over rows
  double nll = 0;       ///< the same without smoothing
  int64_t correct = 0;  ///< rows whose target is the most probable, when they are counted
};

/// The cross-entropy of a linear output layer, without ever holding the T x V logits: the rows go
/// through in chunks, and where a gradient is needed it is made in the same pass.
/// x_TD [T,D], weight_VD [V,D] and bias_V of one floating type; target_T int64 [T].
/// The loss is the sum of -log softmax(x . weight^T + bias)[target] over the rows whose target is
/// not ignored (the log-softmax is taken in float32, rows add up in double).
/// Errors: shapes or types that do not fit, a target outside [0, V).
LinearCrossEntropy linear_cross_entropy(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                                        const torch::Tensor& target_T,
                                        const LinearCrossEntropyOptions& options);

/// The loss alone, without bias and smoothing.
torch::Tensor linear_cross_entropy(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                                   const torch::Tensor& target_T, int64_t ignore_index);

/// How many of `rows` rows have their logits in memory at a time.
int64_t logit_rows(int64_t rows, int64_t vocabulary);

/// log softmax(x . weight^T + bias)[target] of every row, float32 [T] (float64 for float64 input),
/// off the graph.
torch::Tensor linear_log_probability(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                                     const torch::Tensor& target_T,
                                     const torch::Tensor& bias_V = {});

}  // namespace evomoe
