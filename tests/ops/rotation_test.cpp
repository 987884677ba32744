#include "evomoe/ops/rotation.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace evomoe {
namespace {

/// The op in `type`: what it gives for some heads, and their gradient.
std::pair<torch::Tensor, torch::Tensor> turned(torch::ScalarType type, int64_t angles_batch,
                                               int64_t width) {
  torch::manual_seed(4);
  const auto some = [&](std::vector<int64_t> shape) {
    return torch::randn(shape, torch::kFloat64).to(torch::kFloat32).to(type);
  };
  const int64_t B = 3, S = 5, H = 2;
  const auto x = some({B, S, H, width}).requires_grad_();
  const auto angle = some({angles_batch, S, 1, width / 2});
  const auto cosine = torch::cos(angle), sine = torch::sin(angle);
  const auto y = rotate_heads(x, cosine, sine);
  (y * some({B, S, H, width})).sum().backward();
  return {y.detach(), x.grad()};
}

// Float64 takes the plain form, so that the two forms are compared.
TEST(RotateHeads, TheFusedFormIsThePlainOne) {
  for (const int64_t batch : {1, 3}) {
    for (const int64_t width : {2, 6, 32, 34}) {
      const auto [y, gradient] = turned(torch::kFloat32, batch, width);
      const auto [expected, expected_gradient] = turned(torch::kFloat64, batch, width);
      EXPECT_TRUE(torch::allclose(y.to(torch::kFloat64), expected, 1e-5, 1e-5))
          << batch << " " << width;
      EXPECT_TRUE(torch::allclose(gradient.to(torch::kFloat64), expected_gradient, 1e-5, 1e-5))
          << batch << " " << width;
    }
  }
}

TEST(RotateHeads, AQuarterTurnExchangesAPair) {
  const auto x = torch::tensor({1.0F, 2.0F, 3.0F, 4.0F}).view({1, 1, 1, 4});
  const auto zero = torch::zeros({1, 1, 1, 2}), one = torch::ones({1, 1, 1, 2});
  EXPECT_TRUE(torch::equal(rotate_heads(x, zero, one).flatten(),
                           torch::tensor({-3.0F, -4.0F, 1.0F, 2.0F})));
  EXPECT_TRUE(torch::equal(rotate_heads(x, one, zero), x));
}

TEST(RotateHeads, HeadsThatLieAnywhereAreTaken) {
  torch::manual_seed(4);
  const auto x_BHSD = torch::randn({2, 3, 4, 6});
  const auto cosine = torch::randn({1, 4, 1, 3}), sine = torch::randn({1, 4, 1, 3});
  const auto x_BSHD = x_BHSD.transpose(1, 2);
  EXPECT_TRUE(torch::equal(rotate_heads(x_BSHD, cosine, sine),
                           rotate_heads(x_BSHD.contiguous(), cosine, sine)));
}

TEST(RotateHeads, TheGradientHasAGradient) {
  torch::manual_seed(4);
  const auto x = torch::randn({1, 3, 2, 4}).requires_grad_();
  const auto angle = torch::randn({1, 3, 1, 2});
  const auto y = rotate_heads(x, torch::cos(angle), torch::sin(angle));
  const auto once = torch::autograd::grad({y.pow(2).sum()}, {x}, {}, true, /*create_graph=*/true);
  once[0].pow(2).sum().backward();
  // Turning keeps lengths: the sum is that of x^2, its gradient 2 x, and the second sum's 8 x.
  EXPECT_TRUE(torch::allclose(x.grad(), 8 * x.detach(), 1e-4, 1e-5));
}

}  // namespace
}  // namespace evomoe
