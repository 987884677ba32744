#include "evomoe/optim/orthogonalize.h"

#include "evomoe/base/error.h"

namespace evomoe {

torch::Tensor orthogonalize(const torch::Tensor& x, int64_t steps) {
  EVOMOE_CHECK(x.dim() >= 2, "orthogonalize needs matrices, not a tensor of shape {}",
               c10::str(x.sizes()));
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  const auto rows = x.size(-2), columns = x.size(-1);
  const bool tall = rows > columns;  // X X^T is then the larger product
  auto X = x.reshape({-1, rows, columns});
  if (tall) X = X.transpose(1, 2);
  X = X / (X.flatten(1).norm(2, {1}).view({-1, 1, 1}) + 1e-7);
  for (int64_t i = 0; i < steps; ++i) {
    const auto A = torch::bmm(X, X.transpose(1, 2));
    X = torch::baddbmm(X, torch::baddbmm(A, A, A, /*beta=*/b, /*alpha=*/c), X, /*beta=*/a);
  }
  if (tall) X = X.transpose(1, 2);
  return X.reshape(x.sizes());
}

}  // namespace evomoe
