#include "evomoe/optim/gradient_norm.h"

#include <gtest/gtest.h>

#include <limits>

namespace evomoe {
namespace {

NamedParameter with_gradient(const std::string& name, const torch::Tensor& gradient) {
  auto tensor = torch::zeros(gradient.sizes(), gradient.options()).requires_grad_();
  tensor.mutable_grad() = gradient;
  return {name, tensor};
}

TEST(GradientNorm, IsTheNormOfAllGradientsTogether) {
  torch::manual_seed(1);
  const auto a = torch::randn({70'001}), b = torch::randn({5, 3}, torch::kFloat64);
  const auto c = torch::randn({4, 6}).t();
  const std::vector<NamedParameter> parameters = {with_gradient("a", a),
                                                  with_gradient("b", b),
                                                  {"none", torch::zeros({3}).requires_grad_()},
                                                  with_gradient("empty", torch::zeros({0})),
                                                  with_gradient("c", c)};
  const double expected =
      torch::cat({a.to(torch::kFloat64), b.flatten(), c.to(torch::kFloat64).flatten()})
          .norm()
          .item<double>();
  EXPECT_NEAR(gradient_norm(parameters), expected, 1e-12 * expected);
  EXPECT_EQ(gradient_norm({}), 0.0);
}

TEST(GradientNorm, HasTheSameBitsForAnyNumberOfThreads) {
  const int threads = torch::get_num_threads();
  torch::manual_seed(2);
  const std::vector<NamedParameter> parameters = {with_gradient("a", torch::randn({300'001})),
                                                  with_gradient("b", torch::randn({17}))};
  torch::set_num_threads(1);
  const double one = gradient_norm(parameters);
  torch::set_num_threads(3);
  EXPECT_EQ(one, gradient_norm(parameters));
  torch::set_num_threads(threads);
}

TEST(GradientNorm, DoesNotOverflowWhereAFloatSquareWould) {
  EXPECT_NEAR(gradient_norm({with_gradient("a", torch::full({4}, 1e30))}), 2e30, 1e24);
}

TEST(ClipCoefficient, IsFairseqs) {
  EXPECT_EQ(clip_coefficient(5.0, 0.0), 1.0);
  EXPECT_EQ(clip_coefficient(0.5, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(clip_coefficient(4.0, 1.0), 1.0 / (4.0 + 1e-6));
}

TEST(GradientNorm, IsNotFiniteWhereAGradientIsNot) {
  auto nan = torch::zeros({3});
  nan[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(gradient_norm({with_gradient("n", nan)})));
}

}  // namespace
}  // namespace evomoe
