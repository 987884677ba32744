#include "evomoe/kernels/cpu/matmul.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace evomoe::kernels {
namespace {

MatrixView view(const torch::Tensor& x) {
  return {x.const_data_ptr<float>(), x.size(0), x.size(1)};
}

TEST(Matmul, IsTheProductInEveryLayout) {
  ASSERT_TRUE(has_matmul());
  torch::manual_seed(1);
  const int64_t sizes[][3] = {{1, 1, 1}, {7, 9, 8}, {255, 17, 1}, {4, 257, 33}};
  for (const auto& [m, n, k] : sizes) {
    const auto a = torch::randn({m, k}), b = torch::randn({k, n});
    const auto at = a.t().contiguous(), bt = b.t().contiguous();
    const auto expected = torch::mm(a, b);
    for (const bool a_transposed : {false, true}) {
      for (const bool b_transposed : {false, true}) {
        for (const bool add : {false, true}) {
          auto out = torch::full({m, n}, add ? 3.0F : std::nanf(""));
          matmul(a_transposed ? view(at).t() : view(a), b_transposed ? view(bt).t() : view(b),
                 out.data_ptr<float>(), add);
          EXPECT_TRUE(torch::allclose(out, add ? expected + 3 : expected, 1e-5, 1e-5))
              << m << "x" << n << "x" << k << a_transposed << b_transposed << add;
        }
      }
    }
  }
}

TEST(Matmul, OfNothingIsZeros) {
  auto out = torch::ones({2, 3});
  matmul({nullptr, 2, 0}, {nullptr, 0, 3}, out.data_ptr<float>());
  EXPECT_TRUE(torch::equal(out, torch::zeros({2, 3})));
  matmul({nullptr, 0, 2}, {nullptr, 2, 0}, nullptr);
}

}  // namespace
}  // namespace evomoe::kernels
