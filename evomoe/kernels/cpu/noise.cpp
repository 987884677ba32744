#include "evomoe/kernels/cpu/noise.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

constexpr int kLanes = 8;           // blocks made at a time
constexpr int kWords = 4 * kLanes;  // the numbers in them

using KeyWords = std::array<uint32_t, 2>;

/// Eight 32-bit words, two in each 64-bit lane, so that the halves of a product stay where they are
/// needed. (A vector type of GCC and clang: their vectorisers leave the rounds as scalars.)
using Words = uint64_t __attribute__((vector_size(kLanes * sizeof(uint32_t))));

/// Eight neighbouring blocks of a row; number i is what philox_row_block gives for block + i.
EVOMOE_INLINE void philox_lanes(const NoiseKey& key, KeyWords words, uint64_t token, uint32_t block,
                                uint32_t* out) {
  const uint64_t sequence = key.sequence_length == 0 ? 0 : token / key.sequence_length;
  const uint64_t position = key.sequence_length == 0 ? token : token % key.sequence_length;
  constexpr uint64_t kLow = 0xFFFFFFFF;
  const auto twice = [](uint32_t word) { return word | (uint64_t{word} << 32); };
  const Words zero = {};
  Words c0 = zero, c1 = zero + twice(static_cast<uint32_t>(position)),
        c2 = zero + twice(key.first_sequence + static_cast<uint32_t>(sequence)),
        c3 = zero + twice(key.update);
  for (int i = 0; i < kLanes / 2; ++i) {
    const uint32_t even = block + static_cast<uint32_t>(2 * i);
    c0[i] = even | (uint64_t{even + 1} << 32);
  }
  uint32_t k0 = words[0], k1 = words[1];
  for (int round = 0; round < 10; ++round) {
    const Words even0 = (c0 & kLow) * 0xD2511F53, odd0 = (c0 >> 32) * 0xD2511F53;
    const Words even1 = (c2 & kLow) * 0xCD9E8D57, odd1 = (c2 >> 32) * 0xCD9E8D57;
    c0 = ((even1 >> 32) | (odd1 & ~kLow)) ^ c1 ^ twice(k0);
    c2 = ((even0 >> 32) | (odd0 & ~kLow)) ^ c3 ^ twice(k1);
    c1 = (even1 & kLow) | (odd1 << 32);
    c3 = (even0 & kLow) | (odd0 << 32);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  uint32_t column[4][kLanes];
  std::memcpy(column[0], &c0, sizeof c0);
  std::memcpy(column[1], &c1, sizeof c1);
  std::memcpy(column[2], &c2, sizeof c2);
  std::memcpy(column[3], &c3, sizeof c3);
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < 4; ++j) out[4 * i + j] = column[j][i];
  }
}

EVOMOE_INLINE void uniform_row(float* out, int64_t columns, const NoiseKey& key, KeyWords words,
                               uint64_t token) {
  uint32_t bits[kWords];
  for (int64_t c = 0; c < columns; c += kWords) {
    philox_lanes(key, words, token, static_cast<uint32_t>(c / 4), bits);
    const auto n = std::min<int64_t>(kWords, columns - c);
    for (int64_t i = 0; i < n; ++i) out[c + i] = unit_open(bits[i]);
  }
}

EVOMOE_INLINE void dropout_row(const float* x, float* out, int64_t columns, uint32_t first_block,
                               uint32_t threshold, float scale, const NoiseKey& key, KeyWords words,
                               uint64_t token) {
  uint32_t bits[kWords];
  for (int64_t c = 0; c < columns; c += kWords) {
    philox_lanes(key, words, token, first_block + static_cast<uint32_t>(c / 4), bits);
    if (columns - c >= kWords) {
      for (int i = 0; i < kWords; ++i) {
        out[c + i] = (bits[i] >> 9) >= threshold ? x[c + i] * scale : 0.0F;
      }
    } else {
      for (int64_t i = 0; i < columns - c; ++i) {
        out[c + i] = (bits[i] >> 9) >= threshold ? x[c + i] * scale : 0.0F;
      }
    }
  }
}

int64_t rows_per_task(int64_t columns) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(columns, 1));
}

template <typename Row>
void for_each_row(int64_t rows, int64_t columns, const Row& row) {
  parallel_for(0, rows, rows_per_task(columns), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r);
  });
}

}  // namespace

void uniform_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key) {
  const auto words = philox_key(key);
  for_each_row(rows, columns, [&](int64_t r) {
    EVOMOE_VECTORIZED(
        uniform_row(out + r * columns, columns, key, words, static_cast<uint64_t>(r)));
  });
}

void gumbel_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key) {
  const auto words = philox_key(key);
  for_each_row(rows, columns, [&](int64_t r) {
    float* row = out + r * columns;
    EVOMOE_VECTORIZED(uniform_row(row, columns, key, words, static_cast<uint64_t>(r)));
    for (int64_t c = 0; c < columns; ++c) row[c] = -std::log(-std::log(row[c]));
  });
}

void normal_noise(float* out, int64_t rows, int64_t columns, const NoiseKey& key) {
  const auto words = philox_key(key);
  constexpr float kTwoPi = 6.28318530717958647692F;
  for_each_row(rows, columns, [&](int64_t r) {
    for (int64_t c = 0; c < columns; c += 4) {
      const auto block =
          philox_row_block(key, words, static_cast<uint64_t>(r), static_cast<uint32_t>(c / 4));
      float value[4];
      for (int pair = 0; pair < 4; pair += 2) {
        const float radius = std::sqrt(-2.0F * std::log(unit_open(block[pair])));
        const float angle = kTwoPi * unit_open(block[pair + 1]);
        value[pair] = radius * std::cos(angle);
        value[pair + 1] = radius * std::sin(angle);
      }
      std::copy(value, value + std::min<int64_t>(4, columns - c), out + r * columns + c);
    }
  });
}

void dropout(const float* x, float* out, const int64_t* token, int64_t rows, int64_t columns,
             uint32_t first_block, double probability, const NoiseKey& key) {
  const auto words = philox_key(key);
  // unit_open(bits) >= p, as a comparison of integers.
  const auto threshold = static_cast<uint32_t>(std::ceil(probability * 0x1p23 - 0.5));
  const auto scale = static_cast<float>(1.0 / (1.0 - probability));
  for_each_row(rows, columns, [&](int64_t r) {
    const auto t = static_cast<uint64_t>(token == nullptr ? r : token[r]);
    EVOMOE_VECTORIZED(dropout_row(x + r * columns, out + r * columns, columns, first_block,
                                  threshold, scale, key, words, t));
  });
}

}  // namespace evomoe::kernels
