#include "evomoe/kernels/cpu/sum_of_squares.h"

#include <algorithm>
#include <vector>

#include "evomoe/kernels/cpu/vectorize.h"
#include "evomoe/kernels/parallel_for.h"

namespace evomoe::kernels {
namespace {

// The product of two floats is exact in double, so a fused multiply-add changes no bit.
EVOMOE_INLINE double in_lanes(const float* data, int64_t size) {
  constexpr int64_t kLanes = 8;
  double lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const auto value = static_cast<double>(data[i + j]);
      lane[j] += value * value;
    }
  }
  double sum = 0;
  for (; i < size; ++i) sum += static_cast<double>(data[i]) * static_cast<double>(data[i]);
  for (const double value : lane) sum += value;
  return sum;
}

}  // namespace

double chunk_sum_of_squares(const float* data, int64_t size) {
  return EVOMOE_VECTORIZED(in_lanes(data, size));
}

double sum_of_squares(const float* data, int64_t size) {
  if (size <= kSquaresChunk) return chunk_sum_of_squares(data, size);
  const int64_t chunks = (size + kSquaresChunk - 1) / kSquaresChunk;
  std::vector<double> partial(static_cast<size_t>(chunks));
  parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto first = i * kSquaresChunk;
      partial[static_cast<size_t>(i)] =
          chunk_sum_of_squares(data + first, std::min(kSquaresChunk, size - first));
    }
  });
  double sum = 0;
  for (const double value : partial) sum += value;
  return sum;
}

}  // namespace evomoe::kernels
