#include "evomoe/models/norm.h"

#include <gtest/gtest.h>

#include "tests/ops/finite_difference.h"

namespace evomoe {
namespace {

torch::Tensor some_rows(torch::ScalarType type = torch::kFloat32) {
  torch::manual_seed(4);
  return torch::randn({2, 5, 12}, torch::kFloat64).mul(3).add(1).to(type);
}

TEST(Norm, ALayerNormIsThatOfTorchBitByBit) {
  Norm ours(12);
  torch::nn::LayerNorm theirs(torch::nn::LayerNormOptions({12}).eps(1e-5));
  const torch::NoGradGuard no_grad;
  for (auto* parameter : {&ours->weight, &ours->bias}) parameter->normal_();
  theirs->weight.copy_(ours->weight);
  theirs->bias.copy_(ours->bias);
  EXPECT_TRUE(torch::equal(ours->forward(some_rows()), theirs->forward(some_rows())));
}

TEST(Norm, AnRmsNormDividesByTheRootMeanSquare) {
  for (const double eps : {1e-6, 1e-5, 0.5}) {
    Norm norm(12, NormOptions{.kind = NormKind::kRmsNorm, .eps = eps});
    EXPECT_EQ(norm->named_parameters().keys(), std::vector<std::string>{"weight"});
    const torch::NoGradGuard no_grad;
    norm->weight.normal_();
    const auto x = some_rows(torch::kFloat64);
    const auto expected = x / torch::sqrt((x * x).mean(-1, /*keepdim=*/true) + eps) * norm->weight;
    const auto y = norm->forward(x.to(torch::kFloat32)).to(torch::kFloat64);
    EXPECT_TRUE(torch::allclose(y, expected, 1e-6, 1e-6)) << eps;
  }
}

TEST(Norm, GradientsOfAnRmsNormAreFiniteDifferences) {
  Norm norm(12, NormOptions{.kind = NormKind::kRmsNorm});
  norm->to(torch::kFloat64);
  const auto r = torch::randn({2, 5, 12}, torch::kFloat64);
  const auto of = [&](const std::vector<torch::Tensor>& in) {
    norm->weight = in[1];
    return (norm->forward(in[0]) * r).sum();
  };
  EXPECT_LT(testing::gradient_error(
                of, {some_rows(torch::kFloat64), torch::randn({12}, torch::kFloat64)}),
            1e-7);
}

}  // namespace
}  // namespace evomoe
