#pragma once

#include <cstdint>

#include "evomoe/base/philox.h"

/// Grids of counter-based noise on the CPU (base/philox.h). `out` is row-major [rows, columns]; row
/// t is token t.
namespace evomoe::kernels {

void uniform_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key);
void gumbel_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key);
/// Two normal numbers from two words (Box and Muller); a pair lies within one block of four.
void normal_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key);

/// Keeps an element of `x` [rows, columns] iff its uniform number is >= probability, times
/// 1 / (1 - probability), else zeroes it; writes to `out`, which may be `x`. Row i is token
/// token[i], or i where `token` is null; column 0 is the first of block `first_block`.
void dropout(const float* x, float* out, const int64_t* token, int64_t rows, int64_t columns,
             uint32_t first_block, double probability, const NoiseKey& key);

}  // namespace evomoe::kernels
