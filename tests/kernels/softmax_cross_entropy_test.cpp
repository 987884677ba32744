#include "evomoe/kernels/cpu/softmax_cross_entropy.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "evomoe/kernels/cuda/softmax_cross_entropy.h"
#include "tests/kernels/kernel_form.h"

namespace evomoe::kernels {
namespace {

using torch::Tensor;

class SoftmaxCrossEntropyKernels : public KernelForms {
 protected:
  /// The losses; the logits become their gradient where it is asked for.
  static Tensor losses(Tensor& logits, const Tensor& target, bool make_gradient) {
    const auto x = put(logits), wanted = put(target);
    const auto loss = put(torch::full({logits.size(0)}, std::nan(""), torch::kFloat64));
    if (cuda()) {
      cuda::softmax_cross_entropy(data<float>(x), data<int64_t>(wanted), data<double>(loss),
                                  logits.size(0), logits.size(1), make_gradient, kStream);
    } else {
      softmax_cross_entropy(data<float>(x), data<int64_t>(wanted), data<double>(loss),
                            logits.size(0), logits.size(1), make_gradient);
    }
    logits = x.cpu();
    return loss.cpu();
  }
};

/// By its definition, in float64: losses and gradient.
std::pair<Tensor, Tensor> plain(const Tensor& x, const Tensor& target) {
  const auto log_p = torch::log_softmax(x.to(torch::kFloat64), 1);
  const auto gradient = log_p.exp().scatter_add(1, target.unsqueeze(1),
                                                torch::full({x.size(0), 1}, -1.0, torch::kFloat64));
  return {-log_p.gather(1, target.unsqueeze(1)).squeeze(1), gradient};
}

TEST_P(SoftmaxCrossEntropyKernels, IsLogSoftmaxAndItsGradient) {
  torch::manual_seed(4);
  for (const int64_t rows : {0, 1, 7, 8, 9, 255, 257}) {
    for (const int64_t columns : {1, 15, 16, 17, 1023, 2500}) {
      const auto x = torch::randn({rows, columns}) * 5;
      const auto target = torch::randint(columns, {rows}, torch::kInt64);
      const auto [expected, gradient] = plain(x, target);
      auto logits = x.clone();
      const auto only = losses(logits, target, /*make_gradient=*/false);
      EXPECT_TRUE(torch::equal(logits, x));
      const auto loss = losses(logits, target, /*make_gradient=*/true);
      EXPECT_TRUE(torch::equal(loss, only));
      EXPECT_TRUE(torch::allclose(loss, expected, 1e-6, 1e-6));
      EXPECT_TRUE(torch::allclose(logits.to(torch::kFloat64), gradient, 1e-5, 1e-6));
    }
  }
}

TEST_P(SoftmaxCrossEntropyKernels, NotANumberBecomesTheLoss) {
  auto logits = torch::zeros({1, 40});
  logits[0][17] = std::nan("");
  const auto loss = losses(logits, torch::tensor({int64_t{3}}), false);
  EXPECT_TRUE(std::isnan(loss.item<double>()));
}

TEST_P(SoftmaxCrossEntropyKernels, LargeLogitsDoNotOverflow) {
  auto logits = torch::full({1, 20}, -1e4F);
  logits[0][5] = 1e4F;
  const auto loss = losses(logits, torch::tensor({int64_t{5}}), true);
  EXPECT_EQ(loss.item<double>(), 0);
  EXPECT_EQ(logits.abs().max().item<float>(), 0);
}

EVOMOE_BOTH_FORMS(SoftmaxCrossEntropyKernels);

class CudaSoftmaxCrossEntropyKernels : public KernelForms {};

TEST_P(CudaSoftmaxCrossEntropyKernels, BFloat16IsFloatRounded) {
  torch::manual_seed(10);
  for (const int64_t columns : {17, 512}) {
    const auto x = (torch::randn({5, columns}) * 3).to(torch::kBFloat16);
    const auto target = torch::randint(columns, {5}, torch::kInt64);
    const auto logits = put(x), wanted = put(target);
    const auto loss = put(torch::zeros({5}, torch::kFloat64));
    cuda::softmax_cross_entropy(data<cuda::BFloat16>(logits), data<int64_t>(wanted),
                                data<double>(loss), 5, columns, true, kStream);
    const auto [expected, gradient] = plain(x, target);
    EXPECT_TRUE(torch::allclose(loss.cpu(), expected, 1e-6, 1e-6));
    EXPECT_TRUE(torch::allclose(logits.cpu().to(torch::kFloat64), gradient, 8e-3, 1e-6));
  }
}

TEST_P(CudaSoftmaxCrossEntropyKernels, ATargetOutsideTheVocabularyMakesItsLossNotANumber) {
  const auto logits = put(torch::zeros({3, 8})),
             target = put(torch::tensor({int64_t{-1}, int64_t{7}, int64_t{8}}));
  const auto loss = put(torch::zeros({3}, torch::kFloat64));
  cuda::softmax_cross_entropy(data<float>(logits), data<int64_t>(target), data<double>(loss), 3, 8,
                              true, kStream);
  EXPECT_TRUE(torch::equal(loss.cpu().isnan(), torch::tensor({true, false, true})));
}

EVOMOE_CUDA_FORM(CudaSoftmaxCrossEntropyKernels);

}  // namespace
}  // namespace evomoe::kernels
