#pragma once

#include <cstdint>

namespace evomoe::kernels {

/// y [rows, out] = x [rows, in] weight^T + bias, weight [out, in] in bfloat16: the upper halves of
/// floats, widened as they are read. Sums are float32. For few rows, where reading the weights is
/// what takes the time. `bias` [out] may be null.
void linear_bfloat16(const float* x, const uint16_t* weight, const float* bias, float* y,
                     int64_t rows, int64_t in, int64_t out);

}  // namespace evomoe::kernels
