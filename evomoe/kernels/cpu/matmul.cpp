#include "evomoe/kernels/cpu/matmul.h"

#include <algorithm>

// The BLAS standard's single-precision matrix product, column-major; LibTorch's own interface to it
// is for tensors only.
extern "C" void sgemm_(const char* trans_a, const char* trans_b, const int* m, const int* n,
                       const int* k, const float* alpha, const float* a, const int* lda,
                       const float* b, const int* ldb, const float* beta, float* c, const int* ldc)
    __attribute__((weak));

namespace evomoe::kernels {

bool has_matmul() { return sgemm_ != nullptr; }

void matmul(const MatrixView& a, const MatrixView& b, float* out, bool add) {
  const auto m = static_cast<int>(a.transposed ? a.columns : a.rows);
  const auto k = static_cast<int>(a.transposed ? a.rows : a.columns);
  const auto n = static_cast<int>(b.transposed ? b.rows : b.columns);
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!add) std::fill_n(out, static_cast<int64_t>(m) * n, 0.0F);
    return;
  }
  // Row-major out = a b is column-major out^T = b^T a^T.
  const float one = 1, beta = add ? 1 : 0;
  const auto lda = static_cast<int>(a.columns), ldb = static_cast<int>(b.columns);
  sgemm_(b.transposed ? "T" : "N", a.transposed ? "T" : "N", &n, &m, &k, &one, b.data, &ldb, a.data,
         &lda, &beta, out, &n);
}

}  // namespace evomoe::kernels
