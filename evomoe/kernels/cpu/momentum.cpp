#include "evomoe/kernels/cpu/momentum.h"

#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

// As in adam.cpp: each vector unit gives the same bits.
#if defined(__clang__)
#pragma clang fp contract(off)
#endif

namespace evomoe::kernels {
namespace {

/// Elements that are worth a thread of their own.
constexpr int64_t kGrain = 1 << 14;

EVOMOE_INLINE void momentum_range(float* __restrict m, const float* __restrict g,
                                  float* __restrict out, int64_t size, float beta, float rest,
                                  float scale) {
  for (int64_t i = 0; i < size; ++i) {
    const float gradient = g[i] * scale;
    const float average = m[i] * beta + gradient * rest;
    m[i] = average;
    out[i] = average * beta + gradient * rest;
  }
}

EVOMOE_INLINE void step_range(float* __restrict p, const float* __restrict u, int64_t size,
                              float decay, float step) {
  for (int64_t i = 0; i < size; ++i) p[i] = p[i] - decay * p[i] - step * u[i];
}

}  // namespace

void nesterov_momentum(float* m, const float* g, float* out, int64_t size, float beta,
                       float gradient_scale) {
  const float rest = 1.0F - beta;
  parallel_for(0, size, kGrain, [&](int64_t begin, int64_t end) {
    float *m_part = m + begin, *out_part = out + begin;
    const float* g_part = g + begin;
    const int64_t count = end - begin;
    const float b = beta, r = rest, s = gradient_scale;
    EVOMOE_VECTORIZED(momentum_range(m_part, g_part, out_part, count, b, r, s));
  });
}

void decayed_step(float* p, const float* u, int64_t size, float decay, float step) {
  parallel_for(0, size, kGrain, [&](int64_t begin, int64_t end) {
    float* p_part = p + begin;
    const float* u_part = u + begin;
    const int64_t count = end - begin;
    const float d = decay, s = step;
    EVOMOE_VECTORIZED(step_range(p_part, u_part, count, d, s));
  });
}

}  // namespace evomoe::kernels
