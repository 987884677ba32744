#include "evomoe/kernels/cpu/activation.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "evomoe/kernels/cpu/vector_math.h"
#include "evomoe/kernels/cuda/activation.h"
#include "tests/kernels/kernel_form.h"

namespace evomoe::kernels {
namespace {

using torch::Tensor;

Tensor plain(const Tensor& x, Activation activation) {
  if (activation == Activation::kGelu) return torch::gelu(x);
  if (activation == Activation::kGeluTanh) return torch::gelu(x, "tanh");
  if (activation == Activation::kSilu) return torch::silu(x);
  return torch::relu(x);
}

constexpr Activation kAll[] = {Activation::kGelu, Activation::kGeluTanh, Activation::kRelu,
                               Activation::kSilu};
constexpr int64_t kRowCounts[] = {0, 1, 7, 8, 9, 255, 257};

class ActivationKernels : public KernelForms {
 protected:
  /// pre += bias in place (undefined: it is not given); returns activation(pre).
  static Tensor forward(Tensor& pre, const Tensor& bias, Activation activation) {
    const auto x = put(pre), act = put(torch::full_like(pre, std::nanf("")));
    const auto bias_ = bias.defined() ? put(bias) : bias;
    const auto* shift = bias.defined() ? data<float>(bias_) : nullptr;
    if (cuda()) {
      cuda::bias_activation(data<float>(x), shift, nullptr, data<float>(act), pre.size(0),
                            pre.size(1), activation, kStream);
    } else {
      bias_activation(data<float>(x), shift, data<float>(act), pre.size(0), pre.size(1),
                      activation);
    }
    pre = x.cpu();
    return act.cpu();
  }

  /// grad and act in place; returns the gradient of the weights.
  static Tensor backward(Tensor& grad, const Tensor& pre, Tensor& act, const Tensor& weight,
                         Activation activation) {
    const auto g = put(grad), x = put(pre), y = put(act), w = put(weight),
               grad_weight = put(torch::full_like(weight, std::nanf("")));
    if (cuda()) {
      cuda::activation_backward(data<float>(g), data<float>(x), data<float>(y), data<float>(w),
                                data<float>(grad_weight), pre.size(0), pre.size(1), activation,
                                kStream);
    } else {
      activation_backward(data<float>(g), data<float>(x), data<float>(y), data<float>(w),
                          data<float>(grad_weight), pre.size(0), pre.size(1), activation);
    }
    grad = g.cpu();
    act = y.cpu();
    return grad_weight.cpu();
  }

  /// The same of gated experts.
  static Tensor gated_forward(Tensor& pre, const Tensor& bias, const Tensor& factor,
                              Activation activation) {
    const auto x = put(pre), f = put(factor), act = put(torch::full_like(pre, std::nanf("")));
    const auto bias_ = bias.defined() ? put(bias) : bias;
    const auto* shift = bias.defined() ? data<float>(bias_) : nullptr;
    if (cuda()) {
      cuda::gated_bias_activation(data<float>(x), shift, nullptr, data<float>(f), data<float>(act),
                                  pre.size(0), pre.size(1), activation, kStream);
    } else {
      gated_bias_activation(data<float>(x), shift, data<float>(f), data<float>(act), pre.size(0),
                            pre.size(1), activation);
    }
    pre = x.cpu();
    return act.cpu();
  }

  /// grad and act in place; returns the gradients of the weights and of the factor.
  static std::pair<Tensor, Tensor> gated_backward(Tensor& grad, const Tensor& pre,
                                                  const Tensor& factor, Tensor& act,
                                                  const Tensor& weight, Activation activation) {
    const auto g = put(grad), x = put(pre), f = put(factor), y = put(act), w = put(weight),
               grad_weight = put(torch::full_like(weight, std::nanf(""))),
               grad_factor = put(torch::full_like(pre, std::nanf("")));
    if (cuda()) {
      cuda::gated_activation_backward(data<float>(g), data<float>(x), data<float>(f),
                                      data<float>(y), data<float>(w), data<float>(grad_factor),
                                      data<float>(grad_weight), pre.size(0), pre.size(1),
                                      activation, kStream);
    } else {
      gated_activation_backward(data<float>(g), data<float>(x), data<float>(f), data<float>(y),
                                data<float>(w), data<float>(grad_factor), data<float>(grad_weight),
                                pre.size(0), pre.size(1), activation);
    }
    grad = g.cpu();
    act = y.cpu();
    return {grad_weight.cpu(), grad_factor.cpu()};
  }
};

TEST_P(ActivationKernels, ForwardIsThePlainForm) {
  torch::manual_seed(1);
  for (const auto activation : kAll) {
    for (const auto rows : kRowCounts) {
      for (const int64_t columns : {1, 13, 64}) {
        const auto x = torch::randn({rows, columns}) * 3, bias = torch::randn({columns});
        auto pre = x.clone();
        const auto act = forward(pre, bias, activation);
        EXPECT_TRUE(torch::equal(pre, x + bias));
        EXPECT_TRUE(torch::allclose(act, plain(x + bias, activation), 1e-6, 1e-6));
        EXPECT_TRUE(torch::equal(act, forward(pre, {}, activation)));
      }
    }
  }
}

TEST_P(ActivationKernels, BackwardIsThePlainForm) {
  torch::manual_seed(2);
  for (const auto activation : kAll) {
    for (const auto rows : kRowCounts) {
      for (const int64_t columns : {37, 64}) {
        const auto pre = torch::randn({rows, columns}) * 2, q = torch::randn({rows, columns});
        const auto weight = torch::rand({rows});
        auto x = pre.to(torch::kFloat64).requires_grad_(true);
        const auto y = plain(x, activation);
        y.backward(q.to(torch::kFloat64) * weight.to(torch::kFloat64).unsqueeze(1));

        auto grad = q.clone(), act = plain(pre, activation);
        const auto act_before = act.clone();
        const auto grad_weight = backward(grad, pre, act, weight, activation);
        EXPECT_TRUE(torch::allclose(grad.to(torch::kFloat64), x.grad(), 1e-6, 1e-6))
            << static_cast<int>(activation) << " "
            << (grad.to(torch::kFloat64) - x.grad()).abs().max();
        EXPECT_TRUE(torch::allclose(act, act_before * weight.unsqueeze(1)));
        EXPECT_TRUE(torch::allclose(grad_weight, (q * act_before).sum(1), 1e-5, 1e-5));
      }
    }
  }
}

TEST_P(ActivationKernels, OfGatedExpertsForwardAndBackwardAreThePlainForm) {
  torch::manual_seed(3);
  for (const auto activation : kAll) {
    for (const auto rows : kRowCounts) {
      for (const int64_t columns : {1, 37, 64}) {
        const auto x = torch::randn({rows, columns}) * 2, bias = torch::randn({columns});
        const auto f = torch::randn({rows, columns}), q = torch::randn({rows, columns});
        const auto weight = torch::rand({rows});
        auto pre = x.clone();
        auto act = gated_forward(pre, bias, f, activation);
        EXPECT_TRUE(torch::equal(pre, x + bias));
        EXPECT_TRUE(torch::equal(act, gated_forward(pre, {}, f, activation)));
        auto leaf = pre.to(torch::kFloat64).requires_grad_(true);
        auto factor = f.to(torch::kFloat64).requires_grad_(true);
        const auto y = plain(leaf, activation) * factor;
        EXPECT_TRUE(torch::allclose(act.to(torch::kFloat64), y, 1e-6, 2e-6));

        y.backward(q.to(torch::kFloat64) * weight.to(torch::kFloat64).unsqueeze(1));
        auto grad = q.clone();
        const auto act_before = act.clone();
        const auto [grad_weight, grad_factor] =
            gated_backward(grad, pre, f, act, weight, activation);
        EXPECT_TRUE(torch::allclose(grad.to(torch::kFloat64), leaf.grad(), 1e-6, 4e-6));
        EXPECT_TRUE(torch::allclose(grad_factor.to(torch::kFloat64), factor.grad(), 1e-6, 2e-6));
        EXPECT_TRUE(torch::allclose(act, act_before * weight.unsqueeze(1)));
        EXPECT_TRUE(torch::allclose(grad_weight, (q * act_before).sum(1), 1e-5, 1e-5));
      }
    }
  }
}

TEST_P(ActivationKernels, NotANumberGoesThrough) {
  for (const auto activation : kAll) {
    auto pre = torch::tensor({{1.0F, std::nanf(""), 2.0F}});
    const auto act = forward(pre, {}, activation);
    EXPECT_TRUE(torch::equal(act.isnan(), torch::tensor({{false, true, false}})));
  }
}

EVOMOE_BOTH_FORMS(ActivationKernels);

class CudaActivationKernels : public KernelForms {};

TEST_P(CudaActivationKernels, EachRowHasTheBiasOfItsGroup) {
  torch::manual_seed(7);
  const auto x = torch::randn({9, 40}), bias = torch::randn({3, 40});
  const auto group = torch::randint(3, {9}, torch::kInt64);
  const auto pre = put(x), act = put(x), bias_ = put(bias), group_ = put(group);
  cuda::bias_activation(data<float>(pre), data<float>(bias_), data<int64_t>(group_),
                        data<float>(act), 9, 40, Activation::kGelu, kStream);
  const auto expected = x + bias.index_select(0, group);
  EXPECT_TRUE(torch::equal(pre.cpu(), expected));
  EXPECT_TRUE(torch::allclose(act.cpu(), torch::gelu(expected), 1e-6, 1e-6));
}

TEST_P(CudaActivationKernels, BFloat16IsFloatRounded) {
  torch::manual_seed(8);
  using cuda::BFloat16;
  const auto half = [](const Tensor& t) { return t.to(torch::kBFloat16); };
  const auto wide = [](const Tensor& t) { return t.cpu().to(torch::kFloat32); };
  for (const auto activation : kAll) {
    for (const int64_t columns : {13, 64}) {
      const auto x = half(torch::randn({9, columns})), bias = half(torch::randn({columns}));
      const auto pre = put(x), act = put(x), bias_ = put(bias);
      cuda::bias_activation(data<BFloat16>(pre), data<BFloat16>(bias_), nullptr,
                            data<BFloat16>(act), 9, columns, activation, kStream);
      EXPECT_TRUE(torch::equal(pre.cpu(), x + bias));
      EXPECT_TRUE(torch::allclose(wide(act), plain(wide(x + bias), activation), 8e-3, 1e-6));

      const auto q = half(torch::randn({9, columns})), weight = half(torch::rand({9}));
      const auto grad = put(q), act_before = act.cpu().clone(), weight_ = put(weight);
      const auto grad_weight = put(torch::zeros({9}));
      cuda::activation_backward(data<BFloat16>(grad), data<BFloat16>(pre), data<BFloat16>(act),
                                data<BFloat16>(weight_), data<float>(grad_weight), 9, columns,
                                activation, kStream);
      EXPECT_TRUE(
          torch::allclose(grad_weight.cpu(), (wide(q) * wide(act_before)).sum(1), 1e-5, 1e-5));
      auto leaf = wide(pre).requires_grad_(true);
      plain(leaf, activation).backward(wide(q) * wide(weight).unsqueeze(1));
      EXPECT_TRUE(torch::allclose(wide(grad), leaf.grad(), 8e-3, 1e-5));
    }
  }
}

TEST_P(CudaActivationKernels, RowDotsAndSumsOfGroupsAreThePlainForms) {
  torch::manual_seed(9);
  // A group without rows, one of one row, and one of more rows than a block has warps.
  const std::vector<int64_t> ends = {0, 0, 1, 30, 287};
  const auto offset = torch::tensor(ends);
  const auto group = torch::repeat_interleave(offset.diff());
  for (const int64_t columns : {1, 33, 64}) {
    const auto x = torch::randn({287, columns}), bias = torch::randn({4, columns});
    const auto weight = torch::rand({287}), out = torch::rand({287});
    const auto x_ = put(x), bias_ = put(bias), weight_ = put(weight), group_ = put(group),
               offset_ = put(offset), dots = put(out);
    cuda::add_row_dots(data<float>(x_), data<float>(bias_), data<int64_t>(group_),
                       data<float>(dots), 287, columns, kStream);
    EXPECT_TRUE(
        torch::allclose(dots.cpu(), out + (x * bias.index_select(0, group)).sum(1), 1e-5, 1e-5));
    for (const bool weighted : {false, true}) {
      const auto sum = put(torch::full({4, columns}, std::nanf("")));
      cuda::sum_groups(data<float>(x_), weighted ? data<float>(weight_) : nullptr,
                       data<int64_t>(offset_), data<float>(sum), 4, columns, kStream);
      const auto expected =
          torch::zeros({4, columns}).index_add(0, group, weighted ? x * weight.unsqueeze(1) : x);
      EXPECT_TRUE(torch::allclose(sum.cpu(), expected, 1e-5, 1e-5));
    }
  }
}

EVOMOE_CUDA_FORM(CudaActivationKernels);

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

}  // namespace
}  // namespace evomoe::kernels
