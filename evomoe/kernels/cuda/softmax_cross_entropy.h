#pragma once

#include <cstdint>

#include "evomoe/kernels/cuda/bfloat16.h"

namespace evomoe::kernels::cuda {

/// The twin of kernels/cpu/softmax_cross_entropy.h on a CUDA device: loss[r] =
/// -log softmax(logits[r])[target[r]] in nats, for logits [rows, columns]; the exponentials are
/// float32, their sum is double. With `make_gradient` the logits become the gradient of the loss,
/// softmax(logits) - onehot(target). A target outside [0, columns) makes its loss NaN. Pointers are
/// the device's, `stream` is a cudaStream_t, and nothing is waited for. T is float or BFloat16.
template <typename T>
void softmax_cross_entropy(T* logits, const int64_t* target, double* loss, int64_t rows,
                           int64_t columns, bool make_gradient, void* stream);

}  // namespace evomoe::kernels::cuda
