#pragma once

#include <cstdint>

/// RMS norm of rows on the CPU (arXiv 1910.07467).
namespace evomoe::kernels {

/// y [rows, columns] = x * inverse[row] * weight[column], where inverse [rows] becomes
/// 1 / sqrt(mean of the row's x^2 + eps).
void rms_norm(const float* x, const float* weight, float* y, float* inverse, int64_t rows,
              int64_t columns, double eps);

/// The gradients of x [rows, columns] and of weight [columns] from that of y; a null pointer is a
/// gradient that nobody needs. The weight's is added up in an order that does not depend on the
/// number of threads.
void rms_norm_backward(const float* grad_y, const float* x, const float* weight,
                       const float* inverse, float* grad_x, float* grad_weight, int64_t rows,
                       int64_t columns);

}  // namespace evomoe::kernels
