#pragma once

#include <cstdint>

namespace evomoe::kernels {

/// The numbers of one update of Adam that are equal for all elements of a parameter.
struct AdamScalars {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  float gradient_scale;
  float decay;      ///< lr * weight decay
  float step_size;  ///< lr * sqrt(1 - beta2^t) / (1 - beta1^t)
};

/// One pass over memory: gradient scaling, both moments m and v, weight decay and the step
/// (optim/adam.h has the formula). The same bits for any number of threads and any vector unit.
void adam(float* p, const float* g, float* m, float* v, int64_t size, const AdamScalars& scalars);

}  // namespace evomoe::kernels
