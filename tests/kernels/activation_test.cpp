#include "evomoe/kernels/cpu/activation.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "evomoe/kernels/cpu/vector_math.h"

namespace evomoe::kernels {
namespace {

torch::Tensor plain(const torch::Tensor& x, Activation activation) {
  if (activation == Activation::kGelu) return torch::gelu(x);
  if (activation == Activation::kGeluTanh) return torch::gelu(x, "tanh");
  return torch::relu(x);
}

constexpr Activation kAll[] = {Activation::kGelu, Activation::kGeluTanh, Activation::kRelu};
constexpr int64_t kRowCounts[] = {0, 1, 7, 8, 9, 255, 257};

TEST(ActivationKernel, ForwardIsThePlainForm) {
  torch::manual_seed(1);
  for (const auto activation : kAll) {
    for (const auto rows : kRowCounts) {
      for (const int64_t columns : {1, 13, 64}) {
        const auto x = torch::randn({rows, columns}) * 3, bias = torch::randn({columns});
        auto pre = x.clone(), act = torch::empty_like(x);
        bias_activation(pre.data_ptr<float>(), bias.data_ptr<float>(), act.data_ptr<float>(), rows,
                        columns, activation);
        EXPECT_TRUE(torch::equal(pre, x + bias));
        EXPECT_TRUE(torch::allclose(act, plain(x + bias, activation), 1e-6, 1e-6));
        auto again = torch::empty_like(x);
        bias_activation(pre.data_ptr<float>(), nullptr, again.data_ptr<float>(), rows, columns,
                        activation);
        EXPECT_TRUE(torch::equal(act, again));
      }
    }
  }
}

TEST(ActivationKernel, BackwardIsThePlainForm) {
  torch::manual_seed(2);
  for (const auto activation : kAll) {
    for (const auto rows : kRowCounts) {
      constexpr int64_t kColumns = 37;
      const auto pre = torch::randn({rows, kColumns}) * 2, q = torch::randn({rows, kColumns});
      const auto weight = torch::rand({rows});
      auto x = pre.to(torch::kFloat64).requires_grad_(true);
      const auto y = plain(x, activation);
      y.backward(q.to(torch::kFloat64) * weight.to(torch::kFloat64).unsqueeze(1));

      auto grad = q.clone(), act = plain(pre, activation), grad_weight = torch::empty({rows});
      const auto act_before = act.clone();
      activation_backward(grad.data_ptr<float>(), pre.data_ptr<float>(), act.data_ptr<float>(),
                          weight.data_ptr<float>(), grad_weight.data_ptr<float>(), rows, kColumns,
                          activation);
      EXPECT_TRUE(torch::allclose(grad.to(torch::kFloat64), x.grad(), 1e-6, 1e-6))
          << static_cast<int>(activation) << " "
          << (grad.to(torch::kFloat64) - x.grad()).abs().max();
      EXPECT_TRUE(torch::allclose(act, act_before * weight.unsqueeze(1)));
      EXPECT_TRUE(torch::allclose(grad_weight, (q * act_before).sum(1), 1e-5, 1e-5));
    }
  }
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

TEST(ActivationKernel, ElementaryFunctionsAreWithinTheirPromise) {
  double worst_cdf = 0, worst_exp = 0, worst_logistic = 0;
  for (double x = -12; x <= 12; x += 1e-3) {
    const auto f = static_cast<float>(x);
    worst_cdf = std::max(worst_cdf, std::abs(normal_cdf_fast(f) - normal_cdf(f)));
    const double logistic = 1 / (1 + std::exp(-static_cast<double>(f)));
    worst_logistic = std::max(worst_logistic, std::abs(logistic_fast(f) / logistic - 1));
    const double exact = std::exp(static_cast<double>(f) * 7);
    worst_exp = std::max(worst_exp, std::abs(exp_fast(f * 7) / exact - 1));
  }
  EXPECT_LT(worst_cdf, 2e-7);
  EXPECT_LT(worst_logistic, 4e-7);
  EXPECT_LT(worst_exp, 1e-5);  // the rounding of 7x is part of it
  EXPECT_EQ(exp_fast(0.0F), 1.0F);
  EXPECT_EQ(exp_fast(-1e30F), 0.0F);
  EXPECT_EQ(normal_cdf_fast(1e30F), 1.0F);
  EXPECT_EQ(normal_cdf_fast(-1e30F), 0.0F);
  EXPECT_NEAR(normal_cdf_fast(-5.0F) / normal_cdf(-5.0), 1, 3e-6);
}

TEST(ActivationKernel, NotANumberGoesThrough) {
  for (const auto activation : kAll) {
    float pre[3] = {1, std::nanf(""), 2}, act[3];
    bias_activation(pre, nullptr, act, 1, 3, activation);
    EXPECT_TRUE(std::isnan(act[1]));
    EXPECT_FALSE(std::isnan(act[0]) || std::isnan(act[2]));
  }
}

}  // namespace
}  // namespace evomoe::kernels
