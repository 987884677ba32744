#include "evomoe/kernels/cpu/rotation.h"

#include <algorithm>

#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

EVOMOE_INLINE void rotate_token(const float* __restrict x, const float* __restrict cosine,
                                const float* __restrict sine, float* __restrict y, int64_t heads,
                                int64_t half) {
  for (int64_t h = 0; h < heads; ++h) {
    const float* __restrict first = x + 2 * h * half;
    const float* __restrict second = first + half;
    float* __restrict out = y + 2 * h * half;
    for (int64_t j = 0; j < half; ++j) {
      out[j] = first[j] * cosine[j] - second[j] * sine[j];
      out[j + half] = second[j] * cosine[j] + first[j] * sine[j];
    }
  }
}

}  // namespace

void rotate_heads(const float* x, const float* cosine, const float* sine, float* y, int64_t tokens,
                  int64_t heads, int64_t half, int64_t turns) {
  const auto width = 2 * heads * half;
  const auto grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(width, 1));
  parallel_for(0, tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const auto turn = t % turns * half;
      EVOMOE_VECTORIZED(
          rotate_token(x + t * width, cosine + turn, sine + turn, y + t * width, heads, half));
    }
  });
}

}  // namespace evomoe::kernels
