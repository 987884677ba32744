#include "evomoe/kernels/cpu/adam.h"

#include "evomoe/kernels/cpu/square_root.h"
#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

// A fused multiply-add rounds once where two operations round twice: without it each vector unit
// gives the same bits.
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

namespace evomoe::kernels {
namespace {

/// Elements that are worth a thread of their own.
constexpr int64_t kGrain = 1 << 14;

EVOMOE_INLINE void update_range(float* __restrict p, const float* __restrict g, float* __restrict m,
                                float* __restrict v, int64_t size, const AdamScalars s) {
  for (int64_t i = 0; i < size; ++i) {
    const float gradient = g[i] * s.gradient_scale;
    const float first = m[i] * s.beta1 + gradient * s.one_minus_beta1;
    const float second = v[i] * s.beta2 + gradient * gradient * s.one_minus_beta2;
    m[i] = first;
    v[i] = second;
    const float decayed = p[i] - s.decay * p[i];
    p[i] = decayed - s.step_size * (first / (square_root(second) + s.eps));
  }
}

void update(float* p, const float* g, float* m, float* v, int64_t size, const AdamScalars& s) {
  EVOMOE_VECTORIZED(update_range(p, g, m, v, size, s));
}

}  // namespace

void adam(float* p, const float* g, float* m, float* v, int64_t size, const AdamScalars& scalars) {
  parallel_for(0, size, kGrain, [&](int64_t begin, int64_t end) {
    update(p + begin, g + begin, m + begin, v + begin, end - begin, scalars);
  });
}

}  // namespace evomoe::kernels
