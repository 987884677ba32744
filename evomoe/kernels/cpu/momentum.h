#pragma once

#include <cstdint>

namespace evomoe::kernels {

/// m <- beta m + (1-beta) g, and `out` <- beta m + (1-beta) g with the new m (Nesterov); g is
/// multiplied by `gradient_scale` on the way.
void nesterov_momentum(float* m, const float* g, float* out, int64_t size, float beta,
                       float gradient_scale);

/// p <- p - decay p - step u.
void decayed_step(float* p, const float* u, int64_t size, float decay, float step);

}  // namespace evomoe::kernels
