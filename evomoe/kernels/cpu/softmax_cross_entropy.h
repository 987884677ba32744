#pragma once

#include <cstdint>

namespace evomoe::kernels {

/// loss[r] = -log softmax(logits[r])[target[r]] in nats, for logits [rows, columns] on the CPU; the
/// exponentials are float32, their sum is double. With `make_gradient` the logits become the
/// gradient of the loss, softmax(logits) - onehot(target). Targets must lie in [0, columns).
void softmax_cross_entropy(float* logits, const int64_t* target, double* loss, int64_t rows,
                           int64_t columns, bool make_gradient);

}  // namespace evomoe::kernels
