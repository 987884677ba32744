#include "evomoe/kernels/cuda/activation.h"
#include "evomoe/kernels/cuda/activation_math.h"
#include "evomoe/kernels/cuda/launch.cuh"
#include "evomoe/kernels/cuda/reduce.cuh"

namespace evomoe::kernels::cuda {
namespace {

template <typename T, int N, Activation kind>
__global__ void forward_kernel(T* pre, const T* bias, const int64_t* group, const T* factor, T* act,
                               int64_t rows, int64_t packs) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const int64_t of_group = group == nullptr ? 0 : group[r] * packs, place = r * packs;
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      auto x = load<T, N>(pre, place + p);
      if (bias != nullptr) {
        const auto shift = load<T, N>(bias, of_group + p);
        for (int i = 0; i < N; ++i) {
          x.value[i] = from_float<T>(to_float(x.value[i]) + to_float(shift.value[i]));
        }
        store<T, N>(pre, place + p, x);
      }
      // Of the rounded pre-activation, as the backward pass sees it.
      Pack<T, N> y;
      for (int i = 0; i < N; ++i) {
        y.value[i] = from_float<T>(activation_value<kind>(to_float(x.value[i])));
      }
      if (factor != nullptr) {
        const auto f = load<T, N>(factor, place + p);
        for (int i = 0; i < N; ++i) {
          y.value[i] = from_float<T>(to_float(y.value[i]) * to_float(f.value[i]));
        }
      }
      store<T, N>(act, place + p, y);
    }
  }
}

template <typename T, int N, Activation kind>
__global__ void backward_kernel(T* grad, const T* pre, const T* factor, T* act, const T* weight,
                                T* grad_factor, float* grad_weight, int64_t rows, int64_t packs) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const float of_row = to_float(weight[r]);
    const int64_t place = r * packs;
    float dot = 0;
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      auto q = load<T, N>(grad, place + p);
      auto y = load<T, N>(act, place + p);
      const auto x = load<T, N>(pre, place + p);
      Pack<T, N> f, of_f;
      if (factor != nullptr) f = load<T, N>(factor, place + p);
      for (int i = 0; i < N; ++i) {
        const float gradient = to_float(q.value[i]), value = to_float(y.value[i]);
        const float before = to_float(x.value[i]);
        dot += gradient * value;
        float slope = activation_derivative<kind>(before);
        if (factor != nullptr) {
          of_f.value[i] = from_float<T>(of_row * gradient * activation_value<kind>(before));
          slope *= to_float(f.value[i]);
        }
        q.value[i] = from_float<T>(of_row * gradient * slope);
        y.value[i] = from_float<T>(of_row * value);
      }
      if (factor != nullptr) store<T, N>(grad_factor, place + p, of_f);
      store<T, N>(grad, place + p, q);
      store<T, N>(act, place + p, y);
    }
    dot = block_reduce(dot, Sum());
    if (threadIdx.x == 0) grad_weight[r] = dot;
  }
}

template <typename T, int N>
__global__ void row_dots_kernel(const T* x, const T* bias, const int64_t* group, float* out,
                                int64_t rows, int64_t packs) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const int64_t of_group = group[r] * packs, place = r * packs;
    float dot = 0;
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      const auto a = load<T, N>(x, place + p), b = load<T, N>(bias, of_group + p);
      for (int i = 0; i < N; ++i) dot += to_float(a.value[i]) * to_float(b.value[i]);
    }
    dot = block_reduce(dot, Sum());
    if (threadIdx.x == 0) out[r] += dot;
  }
}

/// A block sums a warp's width of columns of one group; its warps take turns at the rows.
template <typename T>
__global__ void sum_groups_kernel(const T* x, const T* scale, const int64_t* offset, T* out,
                                  int64_t groups, int64_t columns, int64_t tiles) {
  constexpr int kWarps = kMostThreads / kWarp;
  __shared__ float of_warp[kWarps][kWarp];
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  for (int64_t b = blockIdx.x; b < groups * tiles; b += gridDim.x) {
    const int64_t g = b / tiles, c = b % tiles * kWarp + lane;
    float sum = 0;
    if (c < columns) {
      for (int64_t r = offset[g] + warp; r < offset[g + 1]; r += kWarps) {
        const float factor = scale == nullptr ? 1.0F : to_float(scale[r]);
        sum += factor * to_float(x[r * columns + c]);
      }
    }
    of_warp[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && c < columns) {
      for (int w = 1; w < kWarps; ++w) sum += of_warp[w][lane];
      out[g * columns + c] = from_float<T>(sum);
    }
    __syncthreads();  // before of_warp is written again
  }
}

/// Calls body(std::integral_constant<Activation, ...>).
template <typename Body>
void with_activation(Activation activation, const Body& body) {
  switch (activation) {
    case Activation::kGelu:
      return body(std::integral_constant<Activation, Activation::kGelu>());
    case Activation::kGeluTanh:
      return body(std::integral_constant<Activation, Activation::kGeluTanh>());
    case Activation::kRelu:
      return body(std::integral_constant<Activation, Activation::kRelu>());
    case Activation::kSilu:
      return body(std::integral_constant<Activation, Activation::kSilu>());
  }
}

/// Null `factor`: the experts are not gated.
template <typename T>
void run_forward(T* pre, const T* bias, const int64_t* group, const T* factor, T* act, int64_t rows,
                 int64_t columns, Activation activation, void* stream) {
  with_activation(activation, [&](auto kind) {
    with_pack<wide<T>()>(
        columns,
        [&](auto pack) {
          constexpr int N = decltype(pack)::value;
          launch("bias_activation", forward_kernel<T, N, decltype(kind)::value>, blocks_for(rows),
                 threads_for(columns / N), stream, pre, bias, group, factor, act, rows,
                 columns / N);
        },
        pre, bias, factor, act);
  });
}

template <typename T>
void run_backward(T* grad, const T* pre, const T* factor, T* act, const T* weight, T* grad_factor,
                  float* grad_weight, int64_t rows, int64_t columns, Activation activation,
                  void* stream) {
  with_activation(activation, [&](auto kind) {
    with_pack<wide<T>()>(
        columns,
        [&](auto pack) {
          constexpr int N = decltype(pack)::value;
          launch("activation_backward", backward_kernel<T, N, decltype(kind)::value>,
                 blocks_for(rows), threads_for(columns / N), stream, grad, pre, factor, act, weight,
                 grad_factor, grad_weight, rows, columns / N);
        },
        pre, grad, factor, act, grad_factor);
  });
}

}  // namespace

template <typename T>
void bias_activation(T* pre, const T* bias, const int64_t* group, T* act, int64_t rows,
                     int64_t columns, Activation activation, void* stream) {
  run_forward<T>(pre, bias, group, /*factor=*/nullptr, act, rows, columns, activation, stream);
}

template <typename T>
void gated_bias_activation(T* pre, const T* bias, const int64_t* group, const T* factor, T* act,
                           int64_t rows, int64_t columns, Activation activation, void* stream) {
  run_forward<T>(pre, bias, group, factor, act, rows, columns, activation, stream);
}

template <typename T>
void activation_backward(T* grad, const T* pre, T* act, const T* weight, float* grad_weight,
                         int64_t rows, int64_t columns, Activation activation, void* stream) {
  run_backward<T>(grad, pre, /*factor=*/nullptr, act, weight, /*grad_factor=*/nullptr, grad_weight,
                  rows, columns, activation, stream);
}

template <typename T>
void gated_activation_backward(T* grad, const T* pre, const T* factor, T* act, const T* weight,
                               T* grad_factor, float* grad_weight, int64_t rows, int64_t columns,
                               Activation activation, void* stream) {
  run_backward<T>(grad, pre, factor, act, weight, grad_factor, grad_weight, rows, columns,
                  activation, stream);
}

template <typename T>
void add_row_dots(const T* x, const T* bias, const int64_t* group, float* out, int64_t rows,
                  int64_t columns, void* stream) {
  with_pack<wide<T>()>(
      columns,
      [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        launch("add_row_dots", row_dots_kernel<T, N>, blocks_for(rows), threads_for(columns / N),
               stream, x, bias, group, out, rows, columns / N);
      },
      x, bias);
}

template <typename T>
void sum_groups(const T* x, const T* scale, const int64_t* offset, T* out, int64_t groups,
                int64_t columns, void* stream) {
  const int64_t tiles = (columns + kWarp - 1) / kWarp;
  launch("sum_groups", sum_groups_kernel<T>, blocks_for(groups * tiles), kMostThreads, stream, x,
         scale, offset, out, groups, columns, tiles);
}

#define EVOMOE_INSTANTIATE(T)                                                                      \
  template void bias_activation(T*, const T*, const int64_t*, T*, int64_t, int64_t, Activation,    \
                                void*);                                                            \
  template void activation_backward(T*, const T*, T*, const T*, float*, int64_t, int64_t,          \
                                    Activation, void*);                                            \
  template void gated_bias_activation(T*, const T*, const int64_t*, const T*, T*, int64_t,         \
                                      int64_t, Activation, void*);                                 \
  template void gated_activation_backward(T*, const T*, const T*, T*, const T*, T*, float*,        \
                                          int64_t, int64_t, Activation, void*);                    \
  template void add_row_dots(const T*, const T*, const int64_t*, float*, int64_t, int64_t, void*); \
  template void sum_groups(const T*, const T*, const int64_t*, T*, int64_t, int64_t, void*)

EVOMOE_INSTANTIATE(float);
EVOMOE_INSTANTIATE(BFloat16);
#undef EVOMOE_INSTANTIATE

}  // namespace evomoe::kernels::cuda
