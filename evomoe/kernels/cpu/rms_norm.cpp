#include "evomoe/kernels/cpu/rms_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kRowsOfPart = 64;  ///< whose gradients of the weight are added up first

/// The sum of a[i] * b[i] * c[i].
EVOMOE_INLINE float sum_of_products(const float* __restrict a, const float* __restrict b,
                                    const float* __restrict c, int64_t size) {
  float lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lane[j] += a[i + j] * b[i + j] * c[i + j];
  }
  double sum = 0;
  for (; i < size; ++i) sum += a[i] * b[i] * c[i];
  for (const float value : lane) sum += value;
  return static_cast<float>(sum);
}

EVOMOE_INLINE float sum_of_squares_of(const float* __restrict x, int64_t size) {
  float lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lane[j] += x[i + j] * x[i + j];
  }
  double sum = 0;
  for (; i < size; ++i) sum += x[i] * x[i];
  for (const float value : lane) sum += value;
  return static_cast<float>(sum);
}

EVOMOE_INLINE float norm_row(const float* __restrict x, const float* __restrict weight,
                             float* __restrict y, int64_t columns, double eps) {
  const double mean = sum_of_squares_of(x, columns) / static_cast<double>(columns);
  const auto inverse = static_cast<float>(1.0 / std::sqrt(mean + eps));
  for (int64_t c = 0; c < columns; ++c) y[c] = x[c] * inverse * weight[c];
  return inverse;
}

EVOMOE_INLINE void gradient_of_row(const float* __restrict grad_y, const float* __restrict x,
                                   const float* __restrict weight, float inverse,
                                   float* __restrict grad_x, int64_t columns) {
  const float dot = sum_of_products(grad_y, weight, x, columns);
  const float shrink = dot * inverse * inverse / static_cast<float>(columns);
  for (int64_t c = 0; c < columns; ++c)
    grad_x[c] = inverse * (grad_y[c] * weight[c] - x[c] * shrink);
}

EVOMOE_INLINE void add_weight_gradient(const float* __restrict grad_y, const float* __restrict x,
                                       float inverse, float* __restrict sum, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c) sum[c] += grad_y[c] * x[c] * inverse;
}

}  // namespace

void rms_norm(const float* x, const float* weight, float* y, float* inverse, int64_t rows,
              int64_t columns, double eps) {
  const auto grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(columns, 1));
  parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const auto at = r * columns;
      inverse[r] = EVOMOE_VECTORIZED(norm_row(x + at, weight, y + at, columns, eps));
    }
  });
}

void rms_norm_backward(const float* grad_y, const float* x, const float* weight,
                       const float* inverse, float* grad_x, float* grad_weight, int64_t rows,
                       int64_t columns) {
  const auto parts = (rows + kRowsOfPart - 1) / kRowsOfPart;
  std::vector<float> partial(grad_weight == nullptr ? 0 : static_cast<size_t>(parts * columns),
                             0.0F);
  parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      auto* sum = grad_weight == nullptr ? nullptr : partial.data() + part * columns;
      for (int64_t r = part * kRowsOfPart; r < std::min(rows, (part + 1) * kRowsOfPart); ++r) {
        const auto at = r * columns;
        const float factor = inverse[r];
        if (grad_x != nullptr)
          EVOMOE_VECTORIZED(
              gradient_of_row(grad_y + at, x + at, weight, factor, grad_x + at, columns));
        if (sum != nullptr)
          EVOMOE_VECTORIZED(add_weight_gradient(grad_y + at, x + at, factor, sum, columns));
      }
    }
  });
  if (grad_weight == nullptr) return;
  std::fill_n(grad_weight, columns, 0.0F);
  for (int64_t part = 0; part < parts; ++part) {
    for (int64_t c = 0; c < columns; ++c) grad_weight[c] += partial[part * columns + c];
  }
}

}  // namespace evomoe::kernels
