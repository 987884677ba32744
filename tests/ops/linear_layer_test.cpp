#include "evomoe/ops/linear_layer.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

torch::Tensor in_float64(const torch::Tensor& tensor) { return tensor.to(torch::kFloat64); }

TEST(Linear, OfABfloat16WeightIsThatOfTheSameNumbersInFloat32) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(4);
  for (const int64_t rows : {0, 1, 3, 4, 5, 16, 17}) {
    for (const int64_t in : {1, 31, 32, 33, 577}) {
      for (const int64_t out : {1, 70}) {
        SCOPED_TRACE(c10::str(rows, " rows, ", in, " to ", out));
        const auto x = torch::randn({rows, in});
        const auto weight = torch::randn({out, in}).to(torch::kBFloat16);
        const auto bias = torch::randn({out});
        const auto expected = torch::linear(in_float64(x), in_float64(weight), in_float64(bias));
        const auto y = linear_layer(x, weight, bias);
        ASSERT_EQ(y.scalar_type(), torch::kFloat32);
        ASSERT_EQ(y.sizes(), expected.sizes());
        EXPECT_TRUE(torch::allclose(in_float64(y), expected, 1e-5, 1e-4));
        EXPECT_TRUE(torch::allclose(in_float64(linear_layer(x, weight)),
                                    torch::linear(in_float64(x), in_float64(weight)), 1e-5, 1e-4));
      }
    }
  }
}

TEST(Linear, TakesRowsThatLieApartAndWeightsThatDo) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(5);
  const auto x = torch::randn({3, 2, 40}).transpose(0, 1);
  const auto weight = torch::randn({40, 24}).to(torch::kBFloat16).t();
  const auto expected = torch::linear(x, weight.to(torch::kFloat32));
  EXPECT_TRUE(torch::allclose(linear_layer(x, weight), expected, 1e-4, 1e-4));
  const auto dense = weight.contiguous();
  EXPECT_EQ(linear_layer(x, dense).sizes(), expected.sizes());
  EXPECT_TRUE(torch::allclose(linear_layer(x, dense), expected, 1e-4, 1e-4));
}

TEST(Linear, OfOneTypeIsTorchsWithItsGradient) {
  torch::manual_seed(6);
  const auto x = torch::randn({3, 8}).requires_grad_();
  const auto weight = torch::randn({5, 8}).requires_grad_();
  const auto y = linear_layer(x, weight);
  EXPECT_TRUE(torch::equal(y, torch::linear(x, weight)));
  y.sum().backward();
  EXPECT_TRUE(weight.grad().defined());
}

TEST(Linear, ABfloat16WeightHasNoGradient) {
  const auto x = torch::randn({3, 8}).requires_grad_();
  EXPECT_THROW(linear_layer(x, torch::zeros({5, 8}, torch::kBFloat16)), Error);
}

TEST(Linear, AnotherWidthIsTorchsError) {
  EXPECT_THROW(linear_layer(torch::randn({3, 8}), torch::zeros({5, 9}, torch::kBFloat16)),
               c10::Error);
}

}  // namespace
}  // namespace evomoe
