#include "evomoe/kernels/cpu/softmax_cross_entropy.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace evomoe::kernels {
namespace {

TEST(SoftmaxCrossEntropyKernel, IsLogSoftmaxAndItsGradient) {
  torch::manual_seed(4);
  for (const int64_t rows : {0, 1, 7, 8, 9, 255, 257}) {
    for (const int64_t columns : {1, 15, 16, 17, 1023, 2500}) {
      const auto x = torch::randn({rows, columns}) * 5;
      const auto target = torch::randint(columns, {rows}, torch::kInt64);
      const auto log_p = torch::log_softmax(x.to(torch::kFloat64), 1);
      const auto expected = -log_p.gather(1, target.unsqueeze(1)).squeeze(1);
      auto loss = torch::empty({rows}, torch::kFloat64), only = torch::empty_like(loss);
      auto logits = x.clone();
      softmax_cross_entropy(logits.data_ptr<float>(), target.data_ptr<int64_t>(),
                            only.data_ptr<double>(), rows, columns, /*make_gradient=*/false);
      EXPECT_TRUE(torch::equal(logits, x));
      softmax_cross_entropy(logits.data_ptr<float>(), target.data_ptr<int64_t>(),
                            loss.data_ptr<double>(), rows, columns, /*make_gradient=*/true);
      EXPECT_TRUE(torch::equal(loss, only));
      EXPECT_TRUE(torch::allclose(loss, expected, 1e-6, 1e-6));
      const auto gradient = log_p.exp().scatter_add(1, target.unsqueeze(1),
                                                    torch::full({rows, 1}, -1.0, torch::kFloat64));
      EXPECT_TRUE(torch::allclose(logits.to(torch::kFloat64), gradient, 1e-5, 1e-6));
    }
  }
}

TEST(SoftmaxCrossEntropyKernel, NotANumberBecomesTheLoss) {
  auto logits = torch::zeros({1, 40});
  logits[0][17] = std::nan("");
  const int64_t target = 3;
  double loss = 0;
  softmax_cross_entropy(logits.data_ptr<float>(), &target, &loss, 1, 40, false);
  EXPECT_TRUE(std::isnan(loss));
}

TEST(SoftmaxCrossEntropyKernel, LargeLogitsDoNotOverflow) {
  auto logits = torch::full({1, 20}, -1e4F);
  logits[0][5] = 1e4F;
  const int64_t target = 5;
  double loss = 1;
  softmax_cross_entropy(logits.data_ptr<float>(), &target, &loss, 1, 20, true);
  EXPECT_EQ(loss, 0);
  EXPECT_EQ(logits.abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace evomoe::kernels
