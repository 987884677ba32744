#include "evomoe/kernels/cpu/rows.h"

#include <algorithm>
#include <cstring>

#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

EVOMOE_INLINE void add_row(const float* __restrict x, float scale, const float* __restrict bias,
                           float* __restrict y, int64_t columns) {
  if (bias != nullptr) {
    for (int64_t c = 0; c < columns; ++c) y[c] += scale * (x[c] + bias[c]);
  } else {
    for (int64_t c = 0; c < columns; ++c) y[c] += scale * x[c];
  }
}

int64_t rows_per_task(int64_t columns) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(columns, 1));
}

}  // namespace

void gather_rows(const float* x, const int64_t* token, float* out, int64_t rows, int64_t columns) {
  const auto bytes = static_cast<size_t>(columns) * sizeof(float);
  parallel_for(0, rows, rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::memcpy(out + r * columns, x + token[r] * columns, bytes);
    }
  });
}

void scatter_add_rows(const float* x, const int64_t* token, const float* scale, const float* bias,
                      float* y, int64_t rows, int64_t columns) {
  parallel_for(0, rows, rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float factor = scale == nullptr ? 1.0F : scale[r];
      EVOMOE_VECTORIZED(add_row(x + r * columns, factor, bias, y + token[r] * columns, columns));
    }
  });
}

}  // namespace evomoe::kernels
