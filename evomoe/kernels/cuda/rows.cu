#include "evomoe/kernels/cuda/launch.cuh"
#include "evomoe/kernels/cuda/rows.h"

namespace evomoe::kernels::cuda {
namespace {

template <typename T, int N>
__global__ void gather_kernel(const T* x, const int64_t* token, T* out, int64_t rows,
                              int64_t packs) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const int64_t from = token[r] * packs, to = r * packs;
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      store<T, N>(out, to + p, load<T, N>(x, from + p));
    }
  }
}

template <typename T, int N>
__global__ void scatter_add_kernel(const T* x, const int64_t* token, const T* scale, const T* bias,
                                   T* y, int64_t rows, int64_t packs) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float factor = scale == nullptr ? 1.0F : to_float(scale[r]);
    const int64_t from = r * packs, to = token[r] * packs;
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      const auto in = load<T, N>(x, from + p);
      auto out = load<T, N>(y, to + p);
      for (int i = 0; i < N; ++i) {
        const float shift = bias == nullptr ? 0.0F : to_float(bias[p * N + i]);
        out.value[i] =
            from_float<T>(to_float(out.value[i]) + factor * (to_float(in.value[i]) + shift));
      }
      store<T, N>(y, to + p, out);
    }
  }
}

template <typename T, int N>
__global__ void add_bias_kernel(T* x, const T* bias, const int64_t* group, int64_t rows,
                                int64_t packs) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const int64_t of_group = group[r] * packs, place = r * packs;
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      auto value = load<T, N>(x, place + p);
      const auto shift = load<T, N>(bias, of_group + p);
      for (int i = 0; i < N; ++i) {
        value.value[i] = from_float<T>(to_float(value.value[i]) + to_float(shift.value[i]));
      }
      store<T, N>(x, place + p, value);
    }
  }
}

template <typename T, int N>
__global__ void combine_kernel(const T* x, const T* weight, const T* bias, const int64_t* group,
                               const int64_t* first, const int64_t* row, T* y, int64_t tokens,
                               int64_t packs) {
  for (int64_t t = blockIdx.x; t < tokens; t += gridDim.x) {
    const int64_t begin = first[t], end = first[t + 1];
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      float sum[N] = {};
      for (int64_t i = begin; i < end; ++i) {
        const int64_t a = row[i];
        const float factor = weight == nullptr ? 1.0F : to_float(weight[a]);
        const auto value = load<T, N>(x, a * packs + p);
        Pack<T, N> shift = {};
        if (bias != nullptr) shift = load<T, N>(bias, group[a] * packs + p);
        for (int j = 0; j < N; ++j) {
          sum[j] += factor * (to_float(value.value[j]) + to_float(shift.value[j]));
        }
      }
      Pack<T, N> out;
      for (int j = 0; j < N; ++j) out.value[j] = from_float<T>(sum[j]);
      store<T, N>(y, t * packs + p, out);
    }
  }
}

}  // namespace

template <typename T>
void gather_rows(const T* x, const int64_t* token, T* out, int64_t rows, int64_t columns,
                 void* stream) {
  with_pack<wide<T>()>(
      columns,
      [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        launch("gather_rows", gather_kernel<T, N>, blocks_for(rows), threads_for(columns / N),
               stream, x, token, out, rows, columns / N);
      },
      x, out);
}

template <typename T>
void scatter_add_rows(const T* x, const int64_t* token, const T* scale, const T* bias, T* y,
                      int64_t rows, int64_t columns, void* stream) {
  with_pack<wide<T>()>(
      columns,
      [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        launch("scatter_add_rows", scatter_add_kernel<T, N>, blocks_for(rows),
               threads_for(columns / N), stream, x, token, scale, bias, y, rows, columns / N);
      },
      x, y);
}

template <typename T>
void add_bias(T* x, const T* bias, const int64_t* group, int64_t rows, int64_t columns,
              void* stream) {
  with_pack<wide<T>()>(
      columns,
      [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        launch("add_bias", add_bias_kernel<T, N>, blocks_for(rows), threads_for(columns / N),
               stream, x, bias, group, rows, columns / N);
      },
      x, bias);
}

template <typename T>
void combine_rows(const T* x, const T* weight, const T* bias, const int64_t* group,
                  const int64_t* first, const int64_t* row, T* y, int64_t tokens, int64_t columns,
                  void* stream) {
  with_pack<wide<T>()>(
      columns,
      [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        launch("combine_rows", combine_kernel<T, N>, blocks_for(tokens), threads_for(columns / N),
               stream, x, weight, bias, group, first, row, y, tokens, columns / N);
      },
      x, bias, y);
}

#define EVOMOE_INSTANTIATE(T)                                                               \
  template void gather_rows(const T*, const int64_t*, T*, int64_t, int64_t, void*);         \
  template void scatter_add_rows(const T*, const int64_t*, const T*, const T*, T*, int64_t, \
                                 int64_t, void*);                                           \
  template void add_bias(T*, const T*, const int64_t*, int64_t, int64_t, void*);            \
  template void combine_rows(const T*, const T*, const T*, const int64_t*, const int64_t*,  \
                             const int64_t*, T*, int64_t, int64_t, void*)

EVOMOE_INSTANTIATE(float);
EVOMOE_INSTANTIATE(BFloat16);
#undef EVOMOE_INSTANTIATE

}  // namespace evomoe::kernels::cuda
