#include "evomoe/kernels/cpu/linear_bfloat16.h"

#include <algorithm>
#include <cstring>

#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

constexpr int64_t kLanes = 16;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Words = uint32_t __attribute__((vector_size(kLanes * sizeof(uint32_t))));
using Halves = uint16_t __attribute__((vector_size(kLanes * sizeof(uint16_t))));

EVOMOE_INLINE void load_widened(const uint16_t* weight, Floats& to) {
  Halves upper;
  std::memcpy(&upper, weight, sizeof upper);
  const Words bits = __builtin_convertvector(upper, Words) << 16;
  std::memcpy(&to, &bits, sizeof to);
}

EVOMOE_INLINE float widened(uint16_t upper) {
  const uint32_t bits = static_cast<uint32_t>(upper) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// The products of a row of the weight with `Rows` rows of x, which lie `in` apart; they go to y,
/// where rows lie `out` apart.
template <int Rows>
EVOMOE_INLINE void products(const float* __restrict x, const uint16_t* __restrict weight,
                            float bias, float* __restrict y, int64_t in, int64_t out) {
  Floats even[Rows] = {}, odd[Rows] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= in; i += 2 * kLanes) {
    Floats first, second;
    load_widened(weight + i, first);
    load_widened(weight + i + kLanes, second);
    for (int row = 0; row < Rows; ++row) {
      Floats a, b;
      std::memcpy(&a, x + row * in + i, sizeof a);
      std::memcpy(&b, x + row * in + i + kLanes, sizeof b);
      even[row] += a * first;
      odd[row] += b * second;
    }
  }
  for (int row = 0; row < Rows; ++row) {
    const Floats both = even[row] + odd[row];
    float sum = 0;
    for (int64_t lane = 0; lane < kLanes; ++lane) sum += both[lane];
    for (int64_t rest = i; rest < in; ++rest) sum += x[row * in + rest] * widened(weight[rest]);
    y[row * out] = sum + bias;
  }
}

EVOMOE_INLINE void outputs(const float* x, const uint16_t* weight, const float* bias, float* y,
                           int64_t rows, int64_t in, int64_t out, int64_t begin, int64_t end) {
  for (int64_t o = begin; o < end; ++o) {
    const auto* of_output = weight + o * in;
    const float added = bias == nullptr ? 0.0F : bias[o];
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4)
      products<4>(x + row * in, of_output, added, y + row * out + o, in, out);
    for (; row < rows; ++row)
      products<1>(x + row * in, of_output, added, y + row * out + o, in, out);
  }
}

}  // namespace

void linear_bfloat16(const float* x, const uint16_t* weight, const float* bias, float* y,
                     int64_t rows, int64_t in, int64_t out) {
  const auto grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(in, 1));
  parallel_for(0, out, grain, [&](int64_t begin, int64_t end) {
    EVOMOE_VECTORIZED(outputs(x, weight, bias, y, rows, in, out, begin, end));
  });
}

}  // namespace evomoe::kernels
