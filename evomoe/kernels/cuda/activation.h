#pragma once

#include <cstdint>

#include "evomoe/kernels/cpu/activation.h"
#include "evomoe/kernels/cuda/bfloat16.h"

/// Activation functions of feed-forward blocks on a CUDA device, fused with what surrounds them;
/// the twin of kernels/cpu/activation.h, for the rows of all experts at once. Pointers are the
/// device's, `stream` is a cudaStream_t, and nothing is waited for. T is float or BFloat16.
namespace evomoe::kernels::cuda {

/// pre[r] += bias[group[r]], in place; act = activation(pre); pre, act [rows, columns]. Null
/// `group`: all rows have bias[0]. Null `bias`: pre holds it already, or there is none.
template <typename T>
void bias_activation(T* pre, const T* bias, const int64_t* group, T* act, int64_t rows,
                     int64_t columns, Activation activation, void* stream);

/// The same of gated experts: act = activation(pre) * factor; factor [rows, columns].
template <typename T>
void gated_bias_activation(T* pre, const T* bias, const int64_t* group, const T* factor, T* act,
                           int64_t rows, int64_t columns, Activation activation, void* stream);

/// The backward pass of y = weight_row * (act . w2^T): `grad` holds q = grad_y . w2 (masked by
/// dropout) and receives the gradient of the pre-activation, weight_row * q * activation'(pre).
/// act *= weight_row. grad_weight[row] = <q, act> before that.
template <typename T>
void activation_backward(T* grad, const T* pre, T* act, const T* weight, float* grad_weight,
                         int64_t rows, int64_t columns, Activation activation, void* stream);

/// The same of gated experts, where act is activation(pre) * factor: `grad` receives
/// weight_row * q * factor * activation'(pre), and `grad_factor` weight_row * q * activation(pre).
template <typename T>
void gated_activation_backward(T* grad, const T* pre, const T* factor, T* act, const T* weight,
                               T* grad_factor, float* grad_weight, int64_t rows, int64_t columns,
                               Activation activation, void* stream);

/// out[r] += <x[r], bias[group[r]]>: what an output bias adds to the combine weight's gradient.
template <typename T>
void add_row_dots(const T* x, const T* bias, const int64_t* group, float* out, int64_t rows,
                  int64_t columns, void* stream);

/// out[g] = sum over rows r in [offset[g], offset[g + 1]) of scale[r] * x[r], in an order that does
/// not vary; null `scale` is 1. A group without rows has zeros. out [groups, columns].
template <typename T>
void sum_groups(const T* x, const T* scale, const int64_t* offset, T* out, int64_t groups,
                int64_t columns, void* stream);

}  // namespace evomoe::kernels::cuda
