#include <cmath>

#include "evomoe/kernels/cuda/launch.cuh"
#include "evomoe/kernels/cuda/noise.h"

namespace evomoe::kernels::cuda {
namespace {

using KeyWords = std::array<uint32_t, 2>;

struct Uniform {
  __device__ void operator()(const PhiloxBlock& bits, float* value) const {
    for (int i = 0; i < 4; ++i) value[i] = unit_open(bits[i]);
  }
};

struct Gumbel {
  __device__ void operator()(const PhiloxBlock& bits, float* value) const {
    for (int i = 0; i < 4; ++i) value[i] = gumbel(bits[i]);
  }
};

struct Normal {
  __device__ void operator()(const PhiloxBlock& bits, float* value) const {
    constexpr float kTwoPi = 6.28318530717958647692F;
    for (int pair = 0; pair < 4; pair += 2) {
      const float radius = std::sqrt(-2.0F * std::log(unit_open(bits[pair])));
      const float angle = kTwoPi * unit_open(bits[pair + 1]);
      value[pair] = radius * std::cos(angle);
      value[pair + 1] = radius * std::sin(angle);
    }
  }
};

/// Each thread makes blocks of four numbers; a row may have as few as one of them.
template <typename Distribution>
__global__ void grid_kernel(float* out, int64_t rows, int64_t columns, int64_t row_blocks,
                            NoiseKey key, KeyWords words) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < rows * row_blocks; i += step) {
    const int64_t r = i / row_blocks, block = i % row_blocks;
    float value[4];
    Distribution()(
        philox_row_block(key, words, static_cast<uint64_t>(r), static_cast<uint32_t>(block)),
        value);
    for (int64_t c = 0; c < 4 && 4 * block + c < columns; ++c) {
      out[r * columns + 4 * block + c] = value[c];
    }
  }
}

template <typename Distribution>
void make_grid(const char* name, float* out, int64_t rows, int64_t columns, const NoiseKey& key,
               void* stream) {
  const int64_t row_blocks = (columns + 3) / 4;
  const int64_t blocks = (rows * row_blocks + kMostThreads - 1) / kMostThreads;
  launch(name, grid_kernel<Distribution>, blocks_for(blocks), kMostThreads, stream, out, rows,
         columns, row_blocks, key, philox_key(key));
}

template <typename T, int N>
__global__ void dropout_kernel(const T* x, T* out, const int64_t* token, const int64_t* group,
                               int64_t rows, int64_t columns, uint32_t first_block,
                               uint32_t threshold, float scale, NoiseKey key, KeyWords words) {
  const int64_t row_blocks = (columns + 3) / 4;
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const auto t = static_cast<uint64_t>(token == nullptr ? r : token[r]);
    const int64_t first = first_block + (group == nullptr ? 0 : group[r] * row_blocks);
    for (int64_t block = threadIdx.x; block < row_blocks; block += blockDim.x) {
      const auto bits = philox_row_block(key, words, t, static_cast<uint32_t>(first + block));
      const int64_t place = r * columns + 4 * block;
      if constexpr (N == 4) {
        auto value = load<T, 4>(x, place / 4);
        for (int i = 0; i < 4; ++i) {
          const bool keep = (bits[i] >> 9) >= threshold;
          value.value[i] = from_float<T>(keep ? to_float(value.value[i]) * scale : 0.0F);
        }
        store<T, 4>(out, place / 4, value);
      } else {
        for (int i = 0; i < 4 && 4 * block + i < columns; ++i) {
          const bool keep = (bits[i] >> 9) >= threshold;
          out[place + i] = from_float<T>(keep ? to_float(x[place + i]) * scale : 0.0F);
        }
      }
    }
  }
}

}  // namespace

void uniform_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key, void* stream) {
  make_grid<Uniform>("uniform_noise", out, rows, columns, key, stream);
}

void gumbel_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key, void* stream) {
  make_grid<Gumbel>("gumbel_noise", out, rows, columns, key, stream);
}

void normal_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key, void* stream) {
  make_grid<Normal>("normal_noise", out, rows, columns, key, stream);
}

template <typename T>
void dropout(const T* x, T* out, const int64_t* token, const int64_t* group, int64_t rows,
             int64_t columns, uint32_t first_block, double probability, const NoiseKey& key,
             void* stream) {
  // unit_open(bits) >= p, as a comparison of integers.
  const auto threshold = static_cast<uint32_t>(std::ceil(probability * 0x1p23 - 0.5));
  const auto scale = static_cast<float>(1.0 / (1.0 - probability));
  with_pack<4>(
      columns,
      [&](auto pack) {
        launch("dropout", dropout_kernel<T, decltype(pack)::value>, blocks_for(rows),
               threads_for((columns + 3) / 4), stream, x, out, token, group, rows, columns,
               first_block, threshold, scale, key, philox_key(key));
      },
      x, out);
}

template void dropout(const float*, float*, const int64_t*, const int64_t*, int64_t, int64_t,
                      uint32_t, double, const NoiseKey&, void*);
template void dropout(const BFloat16*, BFloat16*, const int64_t*, const int64_t*, int64_t, int64_t,
                      uint32_t, double, const NoiseKey&, void*);

}  // namespace evomoe::kernels::cuda
