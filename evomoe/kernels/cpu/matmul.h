#pragma once

#include <cstdint>

namespace evomoe::kernels {

/// A row-major matrix [rows, columns] whose rows lie `columns` apart, or its transpose.
struct MatrixView {
  const float* data;
  int64_t rows, columns;
  bool transposed = false;

  MatrixView t() const { return {data, rows, columns, !transposed}; }
};

/// Whether LibTorch's BLAS can be called by its own name. Where it cannot, matmul() must not be
/// called.
bool has_matmul();

/// out [m,n], row-major = a [m,k] b [k,n] + (add ? out : 0), by the BLAS that LibTorch brings: on
/// all its threads, or on the calling one inside of parallel_for.
void matmul(const MatrixView& a, const MatrixView& b, float* out, bool add = false);

}  // namespace evomoe::kernels
