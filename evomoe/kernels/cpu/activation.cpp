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
  } else if constexpr (kind == Activation::kSilu) {
    return x * logistic_fast(x);
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
  } else if constexpr (kind == Activation::kSilu) {
    return logistic_fast(x) + x * logistic_fast(x) * logistic_fast(-x);
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

/// <grad, act>, in eight partial sums: an order of additions that can be vectorised and does not
/// vary.
EVOMOE_INLINE float row_dot(const float* __restrict grad, const float* __restrict act,
                            int64_t columns) {
  float partial[8] = {};
  const int64_t whole = columns - columns % 8;
  for (int64_t c = 0; c < whole; c += 8) {
    for (int i = 0; i < 8; ++i) partial[i] += grad[c + i] * act[c + i];
  }
  for (int64_t c = whole; c < columns; ++c) partial[c - whole] += grad[c] * act[c];
  return ((partial[0] + partial[4]) + (partial[1] + partial[5])) +
         ((partial[2] + partial[6]) + (partial[3] + partial[7]));
}

template <Activation kind>
EVOMOE_INLINE float backward_row(float* __restrict grad, const float* __restrict pre,
                                 float* __restrict act, float weight, int64_t columns) {
  const float dot = row_dot(grad, act, columns);
  for (int64_t c = 0; c < columns; ++c) {
    grad[c] = weight * grad[c] * derivative<kind>(pre[c]);
    act[c] *= weight;
  }
  return dot;
}

template <Activation kind>
EVOMOE_INLINE void gated_forward_row(float* __restrict pre, const float* __restrict bias,
                                     const float* __restrict factor, float* __restrict act,
                                     int64_t columns) {
  forward_row<kind>(pre, bias, act, columns);
  for (int64_t c = 0; c < columns; ++c) act[c] *= factor[c];
}

template <Activation kind>
EVOMOE_INLINE float gated_backward_row(float* __restrict grad, const float* __restrict pre,
                                       const float* __restrict factor, float* __restrict act,
                                       float weight, float* __restrict grad_factor,
                                       int64_t columns) {
  const float dot = row_dot(grad, act, columns);
  for (int64_t c = 0; c < columns; ++c) {
    const float weighted = weight * grad[c];
    grad_factor[c] = weighted * value<kind>(pre[c]);
    grad[c] = weighted * factor[c] * derivative<kind>(pre[c]);
    act[c] *= weight;
  }
  return dot;
}

template <Activation kind>
void forward(float* pre, const float* bias, float* act, int64_t columns) {
  EVOMOE_VECTORIZED(forward_row<kind>(pre, bias, act, columns));
}

template <Activation kind>
float backward(float* grad, const float* pre, float* act, float weight, int64_t columns) {
  return EVOMOE_VECTORIZED(backward_row<kind>(grad, pre, act, weight, columns));
}

template <Activation kind>
void gated_forward(float* pre, const float* bias, const float* factor, float* act,
                   int64_t columns) {
  EVOMOE_VECTORIZED(gated_forward_row<kind>(pre, bias, factor, act, columns));
}

template <Activation kind>
float gated_backward(float* grad, const float* pre, const float* factor, float* act, float weight,
                     float* grad_factor, int64_t columns) {
  return EVOMOE_VECTORIZED(
      gated_backward_row<kind>(grad, pre, factor, act, weight, grad_factor, columns));
}

/// The functions of a row, of one activation.
struct RowFunctions {
  void (*forward)(float*, const float*, float*, int64_t);
  float (*backward)(float*, const float*, float*, float, int64_t);
  void (*gated_forward)(float*, const float*, const float*, float*, int64_t);
  float (*gated_backward)(float*, const float*, const float*, float*, float, float*, int64_t);
};

template <Activation kind>
constexpr RowFunctions kRowFunctions = {forward<kind>, backward<kind>, gated_forward<kind>,
                                        gated_backward<kind>};

const RowFunctions& row_functions(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return kRowFunctions<Activation::kGelu>;
    case Activation::kGeluTanh:
      return kRowFunctions<Activation::kGeluTanh>;
    case Activation::kRelu:
      return kRowFunctions<Activation::kRelu>;
    case Activation::kSilu:
      break;
  }
  return kRowFunctions<Activation::kSilu>;
}

template <typename Row>
void for_rows(int64_t rows, int64_t columns, const Row& row) {
  const auto rows_of_task = std::max<int64_t>(1, 16384 / std::max<int64_t>(columns, 1));
  parallel_for(0, rows, rows_of_task, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r, r * columns);
  });
}

}  // namespace

void bias_activation(float* pre, const float* bias, float* act, int64_t rows, int64_t columns,
                     Activation activation) {
  const auto row = row_functions(activation).forward;
  for_rows(rows, columns, [&](int64_t, int64_t at) { row(pre + at, bias, act + at, columns); });
}

void gated_bias_activation(float* pre, const float* bias, const float* factor, float* act,
                           int64_t rows, int64_t columns, Activation activation) {
  const auto row = row_functions(activation).gated_forward;
  for_rows(rows, columns,
           [&](int64_t, int64_t at) { row(pre + at, bias, factor + at, act + at, columns); });
}

void activation_backward(float* grad, const float* pre, float* act, const float* weight,
                         float* grad_weight, int64_t rows, int64_t columns, Activation activation) {
  const auto row = row_functions(activation).backward;
  for_rows(rows, columns, [&](int64_t r, int64_t at) {
    grad_weight[r] = row(grad + at, pre + at, act + at, weight[r], columns);
  });
}

void gated_activation_backward(float* grad, const float* pre, const float* factor, float* act,
                               const float* weight, float* grad_factor, float* grad_weight,
                               int64_t rows, int64_t columns, Activation activation) {
  const auto row = row_functions(activation).gated_backward;
  for_rows(rows, columns, [&](int64_t r, int64_t at) {
    grad_weight[r] =
        row(grad + at, pre + at, factor + at, act + at, weight[r], grad_factor + at, columns);
  });
}

}  // namespace evomoe::kernels
