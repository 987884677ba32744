#pragma once

#include <cstdint>

/// Activation functions of feed-forward blocks on the CPU, fused with what surrounds them.
namespace evomoe::kernels {

enum class Activation { kGelu, kGeluTanh, kRelu, kSilu };

/// pre [rows, columns] += bias [columns], in place; act = activation(pre). Null `bias`: pre holds
/// it already, or there is none.
void bias_activation(float* pre, const float* bias, float* act, int64_t rows, int64_t columns,
                     Activation activation);

/// The same of gated experts: act = activation(pre) * factor.
void gated_bias_activation(float* pre, const float* bias, const float* factor, float* act,
                           int64_t rows, int64_t columns, Activation activation);

/// The backward pass of y = weight_row * (act . w2^T): `grad` holds q = grad_y . w2 (masked by
/// dropout) and receives the gradient of the pre-activation, weight_row * q * activation'(pre).
/// act *= weight_row. grad_weight[row] = <q, act> before that.
void activation_backward(float* grad, const float* pre, float* act, const float* weight,
                         float* grad_weight, int64_t rows, int64_t columns, Activation activation);

/// The same of gated experts, where act is activation(pre) * factor: `grad` receives
/// weight_row * q * factor * activation'(pre), and `grad_factor` weight_row * q * activation(pre).
void gated_activation_backward(float* grad, const float* pre, const float* factor, float* act,
                               const float* weight, float* grad_factor, float* grad_weight,
                               int64_t rows, int64_t columns, Activation activation);

}  // namespace evomoe::kernels
