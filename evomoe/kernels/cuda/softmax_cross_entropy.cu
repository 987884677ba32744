#include <cmath>
#include <limits>

#include "evomoe/kernels/cuda/launch.cuh"
#include "evomoe/kernels/cuda/reduce.cuh"
#include "evomoe/kernels/cuda/softmax_cross_entropy.h"

namespace evomoe::kernels::cuda {
namespace {

/// A block a row: its largest logit, the sum of exponentials, and then the gradient.
template <typename T, int N>
__global__ void loss_kernel(T* logits, const int64_t* target, double* loss, int64_t rows,
                            int64_t packs, bool make_gradient) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    T* row = logits + r * packs * N;
    const int64_t wanted = target[r];
    const bool known = wanted >= 0 && wanted < packs * N;
    const float chosen = known ? to_float(row[wanted]) : std::numeric_limits<float>::quiet_NaN();

    float highest = -std::numeric_limits<float>::infinity();
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      const auto x = load<T, N>(row, p);
      for (int i = 0; i < N; ++i) highest = Maximum()(highest, to_float(x.value[i]));
    }
    highest = block_reduce(highest, Maximum());

    float part = 0;  // of one thread: few enough numbers for a float
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      const auto x = load<T, N>(row, p);
      for (int i = 0; i < N; ++i) part += std::exp(to_float(x.value[i]) - highest);
    }
    const double sum = block_reduce(static_cast<double>(part), Sum());
    if (threadIdx.x == 0) {
      loss[r] = std::log(sum) - (static_cast<double>(chosen) - static_cast<double>(highest));
    }
    if (!make_gradient) continue;

    // All threads have read the logits that follow from here on: block_reduce waits for them.
    const auto factor = static_cast<float>(1.0 / sum);
    for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
      auto x = load<T, N>(row, p);
      for (int i = 0; i < N; ++i) {
        const float probability = std::exp(to_float(x.value[i]) - highest) * factor;
        x.value[i] = from_float<T>(p * N + i == wanted ? probability - 1.0F : probability);
      }
      store<T, N>(row, p, x);
    }
  }
}

}  // namespace

template <typename T>
void softmax_cross_entropy(T* logits, const int64_t* target, double* loss, int64_t rows,
                           int64_t columns, bool make_gradient, void* stream) {
  with_pack<wide<T>()>(
      columns,
      [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        launch("softmax_cross_entropy", loss_kernel<T, N>, blocks_for(rows),
               threads_for(columns / N), stream, logits, target, loss, rows, columns / N,
               make_gradient);
      },
      logits);
}

template void softmax_cross_entropy(float*, const int64_t*, double*, int64_t, int64_t, bool, void*);
template void softmax_cross_entropy(BFloat16*, const int64_t*, double*, int64_t, int64_t, bool,
                                    void*);

}  // namespace evomoe::kernels::cuda
