#include "evomoe/kernels/cpu/activation.h"

#include <algorithm>

#include "evomoe/kernels/cpu/vector_math.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

constexpr float kInverseSqrt2Pi = 0.39894228040143267794F;
// gelu_tanh: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel, arXiv 1606.08415)
constexpr float kTanhScale = 0.79788456080286535588F, kTanhCube = 0.044715F;

template <Activation kind>
EVOMOE_INLINE float value(float x) {
  if constexpr (kind == Activation::kRelu) {
    return x < 0.0F ? 0.0F : x;
  } else if constexpr (kind == Activation::kGelu) {
    return x * normal_cdf_fast(x);
  } else {
    return x * logistic_fast(2.0F * kTanhScale * (x + kTanhCube * x * x * x));
  }
}

template <Activation kind>
EVOMOE_INLINE float derivative(float x) {
  if constexpr (kind == Activation::kRelu) {
    return x > 0.0F ? 1.0F : 0.0F;
  } else if constexpr (kind == Activation::kGelu) {
    return normal_cdf_fast(x) + x * kInverseSqrt2Pi * exp_fast(-0.5F * x * x);
  } else {
    const float u = 2.0F * kTanhScale * (x + kTanhCube * x * x * x);
    const float slope = 2.0F * kTanhScale * (1.0F + 3.0F * kTanhCube * x * x);
    return logistic_fast(u) + x * logistic_fast(u) * logistic_fast(-u) * slope;
  }
}

template <Activation kind>
EVOMOE_INLINE void forward_row(float* pre, const float* bias, float* act, int64_t columns) {
  if (bias != nullptr) {
    for (int64_t c = 0; c < columns; ++c) {
      const float x = pre[c] + bias[c];
      pre[c] = x;
      act[c] = value<kind>(x);
    }
  } else {
    for (int64_t c = 0; c < columns; ++c) act[c] = value<kind>(pre[c]);
  }
}

template <Activation kind>
EVOMOE_INLINE float backward_row(float* __restrict grad, const float* __restrict pre,
                                 float* __restrict act, float weight, int64_t columns) {
  // Eight partial sums: an order of additions that can be vectorised and does not vary.
  float partial[8] = {};
  const int64_t whole = columns - columns % 8;
  for (int64_t c = 0; c < whole; c += 8) {
    for (int i = 0; i < 8; ++i) partial[i] += grad[c + i] * act[c + i];
  }
  for (int64_t c = whole; c < columns; ++c) partial[c - whole] += grad[c] * act[c];
  for (int64_t c = 0; c < columns; ++c) {
    grad[c] = weight * grad[c] * derivative<kind>(pre[c]);
    act[c] *= weight;
  }
  return ((partial[0] + partial[4]) + (partial[1] + partial[5])) +
         ((partial[2] + partial[6]) + (partial[3] + partial[7]));
}

using ForwardRow = void (*)(float*, const float*, float*, int64_t);
using BackwardRow = float (*)(float*, const float*, float*, float, int64_t);

template <Activation kind>
void forward(float* pre, const float* bias, float* act, int64_t columns) {
  EVOMOE_VECTORIZED(forward_row<kind>(pre, bias, act, columns));
}

template <Activation kind>
float backward(float* grad, const float* pre, float* act, float weight, int64_t columns) {
  return EVOMOE_VECTORIZED(backward_row<kind>(grad, pre, act, weight, columns));
}

int64_t rows_per_task(int64_t columns) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(columns, 1));
}

}  // namespace

void bias_activation(float* pre, const float* bias, float* act, int64_t rows, int64_t columns,
                     Activation activation) {
  const ForwardRow row = activation == Activation::kGelu       ? forward<Activation::kGelu>
                         : activation == Activation::kGeluTanh ? forward<Activation::kGeluTanh>
                                                               : forward<Activation::kRelu>;
  parallel_for(0, rows, rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(pre + r * columns, bias, act + r * columns, columns);
  });
}

void activation_backward(float* grad, const float* pre, float* act, const float* weight,
                         float* grad_weight, int64_t rows, int64_t columns, Activation activation) {
  const BackwardRow row = activation == Activation::kGelu       ? backward<Activation::kGelu>
                          : activation == Activation::kGeluTanh ? backward<Activation::kGeluTanh>
                                                                : backward<Activation::kRelu>;
  parallel_for(0, rows, rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      grad_weight[r] =
          row(grad + r * columns, pre + r * columns, act + r * columns, weight[r], columns);
    }
  });
}

}  // namespace evomoe::kernels
