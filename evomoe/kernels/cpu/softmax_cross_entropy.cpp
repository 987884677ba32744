#include "evomoe/kernels/cpu/softmax_cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "evomoe/kernels/cpu/vector_math.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

constexpr int kLanes = 16;
constexpr int64_t kSegment = 1024;  // columns summed in float before they go into the double sum

EVOMOE_INLINE float max_of(const float* __restrict x, int64_t columns) {
  float lane[kLanes];
  for (int i = 0; i < kLanes; ++i) lane[i] = -std::numeric_limits<float>::infinity();
  const int64_t whole = columns - columns % kLanes;
  for (int64_t c = 0; c < whole; c += kLanes) {
    for (int i = 0; i < kLanes; ++i) lane[i] = x[c + i] > lane[i] ? x[c + i] : lane[i];
  }
  float result = lane[0];
  for (int i = 1; i < kLanes; ++i) result = std::max(result, lane[i]);
  for (int64_t c = whole; c < columns; ++c) result = std::max(result, x[c]);
  return result;
}

template <bool kStore>
EVOMOE_INLINE double sum_of_exponentials(float* __restrict x, float shift, int64_t columns) {
  double sum = 0;
  for (int64_t begin = 0; begin < columns; begin += kSegment) {
    const int64_t end = std::min(columns, begin + kSegment);
    const int64_t whole = end - (end - begin) % kLanes;
    float lane[kLanes] = {};
    for (int64_t c = begin; c < whole; c += kLanes) {
      for (int i = 0; i < kLanes; ++i) {
        const float e = exp_fast(x[c + i] - shift);
        if (kStore) x[c + i] = e;
        lane[i] += e;
      }
    }
    for (int64_t c = whole; c < end; ++c) {
      const float e = exp_fast(x[c] - shift);
      if (kStore) x[c] = e;
      lane[c - whole] += e;
    }
    for (const float partial : lane) sum += partial;
  }
  return sum;
}

EVOMOE_INLINE void scale_row(float* __restrict x, float factor, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c) x[c] *= factor;
}

}  // namespace

void softmax_cross_entropy(float* logits, const int64_t* target, double* loss, int64_t rows,
                           int64_t columns, bool make_gradient) {
  parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* row = logits + r * columns;
      const float highest = EVOMOE_VECTORIZED(max_of(row, columns));
      const double chosen = static_cast<double>(row[target[r]]) - static_cast<double>(highest);
      const double sum = make_gradient
                             ? EVOMOE_VECTORIZED(sum_of_exponentials<true>(row, highest, columns))
                             : EVOMOE_VECTORIZED(sum_of_exponentials<false>(row, highest, columns));
      loss[r] = std::log(sum) - chosen;
      if (make_gradient) {
        EVOMOE_VECTORIZED(scale_row(row, static_cast<float>(1.0 / sum), columns));
        row[target[r]] -= 1.0F;
      }
    }
  });
}

}  // namespace evomoe::kernels
