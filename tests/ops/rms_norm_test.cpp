#include "evomoe/ops/rms_norm.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr double kEps = 1e-5;

struct Result {
  torch::Tensor y, grad_x, grad_weight;
};

/// Value and gradients; `of` tells how.
template <typename Of>
Result result_of(const Of& of, const torch::Tensor& x, const torch::Tensor& weight) {
  const auto own_x = x.detach().clone().requires_grad_();
  const auto own_weight = weight.detach().clone().requires_grad_();
  const auto y = of(own_x, own_weight);
  torch::manual_seed(8);
  (y * torch::randn(y.sizes(), torch::kFloat64).to(y.scalar_type())).sum().backward();
  return {y.detach(), own_x.grad(), own_weight.grad()};
}

TEST(RmsNorm, ValuesAndGradientsAreThoseOfTheFormulaInFloat64) {
  for (const auto& [rows, columns] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 15}, {63, 16}, {64, 17}, {65, 577}}) {
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
    torch::manual_seed(3);
    const auto x = torch::randn({rows, columns}) * 3 + 1, weight = torch::randn({columns});
    const auto ours = result_of(
        [](const auto& x, const auto& weight) { return rms_norm(x, weight, kEps); }, x, weight);
    const auto expected = result_of(
        [](const auto& x, const auto& weight) {
          return x / torch::sqrt((x * x).mean(-1, /*keepdim=*/true) + kEps) * weight;
        },
        x.to(torch::kFloat64), weight.to(torch::kFloat64));
    for (const auto& [ours_of, expected_of] : {std::pair{ours.y, expected.y},
                                               {ours.grad_x, expected.grad_x},
                                               {ours.grad_weight, expected.grad_weight}}) {
      EXPECT_EQ(ours_of.scalar_type(), torch::kFloat32);
      EXPECT_TRUE(torch::allclose(ours_of.to(torch::kFloat64), expected_of, 1e-5, 1e-5));
    }
  }
}

TEST(RmsNorm, AnyFormOfTheInputGivesTheSame) {
  torch::manual_seed(3);
  const auto x = torch::randn({4, 6, 24}), weight = torch::randn({24});
  const auto y = rms_norm(x, weight, kEps);
  EXPECT_TRUE(torch::equal(rms_norm(x.transpose(0, 1), weight, kEps), y.transpose(0, 1)));
  EXPECT_EQ(rms_norm(x.slice(0, 0, 0), weight, kEps).sizes(), (std::vector<int64_t>{0, 6, 24}));
  EXPECT_THROW(rms_norm(x, torch::ones({23}), kEps), c10::Error);
}

TEST(RmsNorm, OnlyWhatIsAskedForGetsAGradient) {
  torch::manual_seed(3);
  const auto x = torch::randn({70, 24}), weight = torch::randn({24});
  const auto of = [](const auto& x, const auto& weight) { return rms_norm(x, weight, kEps); };
  const auto both = result_of(of, x, weight);
  const auto gradient = [&](torch::Tensor x, torch::Tensor weight, torch::Tensor& leaf) {
    leaf.requires_grad_();
    const auto y = of(x, weight);
    torch::manual_seed(8);
    (y * torch::randn(y.sizes(), torch::kFloat64).to(torch::kFloat32)).sum().backward();
    return leaf.grad();
  };
  auto x_alone = x.clone(), weight_alone = weight.clone();
  EXPECT_TRUE(torch::equal(gradient(x_alone, weight, x_alone), both.grad_x));
  EXPECT_TRUE(torch::equal(gradient(x, weight_alone, weight_alone), both.grad_weight));
}

TEST(RmsNorm, ASecondGradientIsRefused) {
  const auto x = torch::randn({3, 8}).requires_grad_();
  const auto y = rms_norm(x, torch::ones({8}), kEps);
  EXPECT_THROW(torch::autograd::grad({y.sum()}, {x}, {}, true, /*create_graph=*/true), Error);
}

TEST(RmsNorm, ThreadsChangeNothing) {
  torch::manual_seed(3);
  const auto x = torch::randn({1000, 96}), weight = torch::randn({96});
  const auto of = [](const auto& x, const auto& weight) { return rms_norm(x, weight, kEps); };
  const auto threads = torch::get_num_threads();
  torch::set_num_threads(1);
  const auto one = result_of(of, x, weight);
  torch::set_num_threads(2);
  const auto two = result_of(of, x, weight);
  torch::set_num_threads(threads);
  EXPECT_TRUE(torch::equal(one.y, two.y));
  EXPECT_TRUE(torch::equal(one.grad_x, two.grad_x));
  EXPECT_TRUE(torch::equal(one.grad_weight, two.grad_weight));
}

}  // namespace
}  // namespace evomoe
