#pragma once

#include <cstdint>

#include "evomoe/kernels/cuda/bfloat16.h"

/// Moving rows between tokens and the contiguous rows of an expert, on a CUDA device; the twin of
/// kernels/cpu/rows.h. Pointers are the device's, `stream` is a cudaStream_t, and nothing is waited
/// for. T is float or BFloat16.
namespace evomoe::kernels::cuda {

/// out[i] = x[token[i]]; x [*, columns], out [rows, columns]; a token may come more than once.
template <typename T>
void gather_rows(const T* x, const int64_t* token, T* out, int64_t rows, int64_t columns,
                 void* stream);

/// y[token[i]] += scale[i] * (x[i] + bias); null `scale` is 1, null `bias` is 0. `token` [rows]
/// holds no token twice.
template <typename T>
void scatter_add_rows(const T* x, const int64_t* token, const T* scale, const T* bias, T* y,
                      int64_t rows, int64_t columns, void* stream);

/// x[i] += bias[group[i]]; bias [*, columns].
template <typename T>
void add_bias(T* x, const T* bias, const int64_t* group, int64_t rows, int64_t columns,
              void* stream);

/// What adds up at each token: y[t] = sum over i in [first[t], first[t + 1]) of
/// weight[a] * (x[a] + bias[group[a]]) with a = row[i], in that order, in float; null `weight` is
/// 1, null `bias` is 0. All of y [tokens, columns] is written.
template <typename T>
void combine_rows(const T* x, const T* weight, const T* bias, const int64_t* group,
                  const int64_t* first, const int64_t* row, T* y, int64_t tokens, int64_t columns,
                  void* stream);

}  // namespace evomoe::kernels::cuda
