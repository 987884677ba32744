#pragma once

#include <cstdint>

#include "evomoe/base/philox.h"
#include "evomoe/kernels/cuda/bfloat16.h"

/// Grids of counter-based noise on a CUDA device (base/philox.h); the twin of kernels/cpu/noise.h.
/// `out` is row-major [rows, columns]; row t is token t. Uniform numbers and dropout are the CPU's
/// bit for bit; Gumbel and normal numbers differ in the last bits, as the logarithms of the two
/// math libraries do. Pointers are the device's, `stream` is a cudaStream_t, and nothing is waited
/// for.
namespace evomoe::kernels::cuda {

void uniform_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key, void* stream);
void gumbel_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key, void* stream);
void normal_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key, void* stream);

/// Keeps an element of `x` [rows, columns] iff its uniform number is >= probability, times
/// 1 / (1 - probability), else zeroes it; writes to `out`, which may be `x`. Row i is token
/// token[i], or i where `token` is null; its column 0 is the first of block `first_block`, or of
/// block group[i] * ceil(columns / 4) after it where `group` is given. T is float or BFloat16.
template <typename T>
void dropout(const T* x, T* out, const int64_t* token, const int64_t* group, int64_t rows,
             int64_t columns, uint32_t first_block, double probability, const NoiseKey& key,
             void* stream);

}  // namespace evomoe::kernels::cuda
