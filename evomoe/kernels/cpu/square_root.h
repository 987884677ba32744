#pragma once

#include <cmath>

#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "evomoe/kernels/cpu/vectorize.h"

namespace evomoe::kernels {

/// A square root that never sets errno: std::sqrt may, which keeps compilers from vectorising a
/// loop with it.
EVOMOE_INLINE float square_root(float x) {
#if defined(__SSE__)
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
#else
  return std::sqrt(x);
#endif
}

}  // namespace evomoe::kernels
