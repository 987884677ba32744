#pragma once

#include <cstdint>

/// Moving rows between tokens and the contiguous rows of an expert, on the CPU. `token` [rows]
/// holds no token twice.
namespace evomoe::kernels {

/// out[i] = x[token[i]]; x [*, columns], out [rows, columns].
void gather_rows(const float* x, const int64_t* token, float* out, int64_t rows, int64_t columns);

/// y[token[i]] += scale[i] * (x[i] + bias); null `scale` is 1, null `bias` is 0.
void scatter_add_rows(const float* x, const int64_t* token, const float* scale, const float* bias,
                      float* y, int64_t rows, int64_t columns);

}  // namespace evomoe::kernels
