#pragma once

#include <cstdint>

namespace evomoe::kernels {

/// Elements that sum_of_squares() adds up in one go. Fixed, so that the order of additions, and
/// with it each bit of a sum, does not depend on the threads.
inline constexpr int64_t kSquaresChunk = 1 << 15;

/// The sum of squares of `size` floats in double, in eight lanes that the compiler turns into
/// vectors. On the calling thread.
double chunk_sum_of_squares(const float* data, int64_t size);

/// The same on all threads, in chunks of kSquaresChunk.
double sum_of_squares(const float* data, int64_t size);

}  // namespace evomoe::kernels
