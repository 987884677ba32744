#include "evomoe/ops/linear_cross_entropy.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "tests/ops/finite_difference.h"

namespace evomoe {
namespace {

torch::Tensor plain(const torch::Tensor& x, const torch::Tensor& weight,
                    const torch::Tensor& target, int64_t ignore) {
  return torch::nn::functional::cross_entropy(
      torch::matmul(x, weight.t()), target,
      torch::nn::functional::CrossEntropyFuncOptions().ignore_index(ignore).reduction(torch::kSum));
}

TEST(LinearCrossEntropy, IsThePlainFormWithItsGradientsOverSeveralChunks) {
  torch::manual_seed(1);
  constexpr int64_t kTokens = 300, kDim = 24, kVocabulary = 70000;  // 128 rows a chunk
  auto x = torch::randn({kTokens, kDim}).requires_grad_(true);
  auto weight = (torch::randn({kVocabulary, kDim}) * 0.3).requires_grad_(true);
  const auto target = torch::randint(kVocabulary, {kTokens}, torch::kInt64);
  target.slice(0, 0, kTokens, 7).fill_(1);
  const auto expected = torch::autograd::grad(
      {plain(x.to(torch::kFloat64), weight.to(torch::kFloat64), target, 1)}, {x, weight});
  const auto loss = linear_cross_entropy(x, weight, target, 1);
  EXPECT_EQ(loss.scalar_type(), torch::kFloat64);
  EXPECT_NEAR(
      loss.item<double>() /
          plain(x.to(torch::kFloat64), weight.to(torch::kFloat64), target, 1).item<double>(),
      1, 1e-6);
  const auto given = torch::autograd::grad({loss * 2}, {x, weight});
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(torch::allclose(given[i], 2 * expected[i], 1e-4, 1e-5)) << i;
  }
}

TEST(LinearCrossEntropy, GradientsAreFiniteDifferences) {
  torch::manual_seed(2);
  const auto target = torch::tensor({0, 3, 1, 4, 1}, torch::kInt64);
  const auto error = testing::gradient_error(
      [&](const auto& in) { return linear_cross_entropy(in[0], in[1], target, 1); },
      {torch::randn({5, 4}, torch::kFloat64), torch::randn({6, 4}, torch::kFloat64)});
  EXPECT_LT(error, 1e-7);
}

TEST(LinearCrossEntropy, IgnoredRowsHaveNoPart) {
  torch::manual_seed(3);
  auto x = torch::randn({4, 5}).requires_grad_(true);
  auto weight = torch::randn({9, 5}).requires_grad_(true);
  const auto target = torch::tensor({2, 1, 1, 8}, torch::kInt64);
  linear_cross_entropy(x, weight, target, 1).backward();
  EXPECT_EQ(x.grad().slice(0, 1, 3).abs().max().item<float>(), 0);
  EXPECT_GT(x.grad()[0].abs().max().item<float>(), 0);

  x.mutable_grad().reset();
  weight.mutable_grad().reset();
  const auto nothing = linear_cross_entropy(x, weight, torch::full({4}, 1, torch::kInt64), 1);
  nothing.backward();
  EXPECT_EQ(nothing.item<double>(), 0);
  EXPECT_EQ(x.grad().abs().max().item<float>(), 0);
  EXPECT_EQ(weight.grad().abs().max().item<float>(), 0);
}

TEST(LinearCrossEntropy, IgnoreIndexMayLieOutsideTheVocabulary) {
  const auto x = torch::randn({2, 3}), weight = torch::randn({4, 3});
  const auto target = torch::tensor({-100, 2}, torch::kInt64);
  EXPECT_NEAR(linear_cross_entropy(x, weight, target, -100).item<double>(),
              plain(x, weight, target, -100).item<double>(), 1e-5);
}

TEST(LinearCrossEntropy, OnlyOneSideMayNeedAGradient) {
  torch::manual_seed(4);
  const auto target = torch::tensor({0, 1, 2}, torch::kInt64);
  auto x = torch::randn({3, 5}).requires_grad_(true);
  const auto weight = torch::randn({4, 5});
  linear_cross_entropy(x, weight, target, -1).backward();
  EXPECT_TRUE(torch::allclose(
      x.grad(), torch::autograd::grad({plain(x, weight, target, -1)}, {x})[0], 1e-5, 1e-6));
  auto frozen = x.detach();
  auto trained = weight.clone().requires_grad_(true);
  linear_cross_entropy(frozen, trained, target, -1).backward();
  EXPECT_TRUE(trained.grad().defined());
  EXPECT_FALSE(linear_cross_entropy(frozen, weight, target, -1).requires_grad());
}

TEST(LinearCrossEntropy, LogProbabilityIsThatOfEveryRow) {
  torch::manual_seed(5);
  const auto x = torch::randn({10, 6}), weight = torch::randn({50, 6});
  const auto target = torch::randint(50, {10}, torch::kInt64);
  const auto log_p = linear_log_probability(x, weight, target);
  EXPECT_EQ(log_p.scalar_type(), torch::kFloat32);
  const auto expected =
      torch::log_softmax(torch::matmul(x, weight.t()), 1).gather(1, target.unsqueeze(1)).squeeze(1);
  EXPECT_TRUE(torch::allclose(log_p, expected, 1e-5, 1e-6));
  EXPECT_EQ(linear_log_probability(x.slice(0, 0, 0), weight, target.slice(0, 0, 0)).numel(), 0);
}

TEST(LinearCrossEntropy, BiasAndSmoothingAreThePlainFormWithItsGradients) {
  torch::manual_seed(6);
  constexpr double kEpsilon = 0.1;
  constexpr int64_t kVocabulary = 70000;  // several chunks
  auto x = torch::randn({300, 8}).requires_grad_(true);
  auto weight = (torch::randn({kVocabulary, 8}) * 0.3).requires_grad_(true);
  auto bias = torch::randn({kVocabulary}).requires_grad_(true);
  const auto target = torch::randint(kVocabulary, {300}, torch::kInt64);
  target.slice(0, 0, 300, 7).fill_(1);
  const auto kept = target.ne(1);
  // fairseq's label_smoothed_nll_loss.
  const auto log_p = torch::log_softmax(
      torch::matmul(x.to(torch::kFloat64), weight.t().to(torch::kFloat64)) + bias, 1);
  const auto nll = -(log_p.gather(1, target.unsqueeze(1)).squeeze(1) * kept).sum();
  const auto all = -(log_p.sum(1) * kept).sum();
  const double each = kEpsilon / (kVocabulary - 1);
  const auto expected = (1 - kEpsilon - each) * nll + each * all;
  const auto found = linear_cross_entropy(
      x, weight, target,
      {.ignore_index = 1, .bias_V = bias, .label_smoothing = kEpsilon, .count_correct = true});
  EXPECT_NEAR(found.loss.item<double>() / expected.item<double>(), 1, 1e-6);
  EXPECT_NEAR(found.nll / nll.item<double>(), 1, 1e-6);
  EXPECT_EQ(found.correct, (log_p.argmax(1).eq(target) * kept).sum().item<int64_t>());
  const auto theirs = torch::autograd::grad({expected}, {x, weight, bias});
  const auto ours = torch::autograd::grad({found.loss}, {x, weight, bias});
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(torch::allclose(ours[i], theirs[i], 1e-4, 1e-5)) << i;
}

TEST(LinearCrossEntropy, SmoothedGradientsAreFiniteDifferences) {
  torch::manual_seed(7);
  const auto target = torch::tensor({0, 3, 1, 4, 1}, torch::kInt64);
  const auto error = testing::gradient_error(
      [&](const auto& in) {
        return linear_cross_entropy(in[0], in[1], target,
                                    {.ignore_index = 1, .bias_V = in[2], .label_smoothing = 0.2})
            .loss;
      },
      {torch::randn({5, 4}, torch::kFloat64), torch::randn({6, 4}, torch::kFloat64),
       torch::randn({6}, torch::kFloat64)});
  EXPECT_LT(error, 1e-7);
}

TEST(LinearCrossEntropy, CountsTheTargetsThatAreMostProbable) {
  const auto x = torch::eye(3), weight = torch::eye(3);
  const auto target = torch::tensor({0, 2, 2}, torch::kInt64);
  EXPECT_EQ(linear_cross_entropy(x, weight, target, {.count_correct = true}).correct, 2);
  EXPECT_EQ(
      linear_cross_entropy(x, weight, target, {.ignore_index = 0, .count_correct = true}).correct,
      1);
}

TEST(LinearCrossEntropy, BadInputsAreNamed) {
  const auto x = torch::randn({2, 3}), weight = torch::randn({4, 3});
  const auto target = torch::tensor({0, 4}, torch::kInt64);
  try {
    linear_cross_entropy(x, weight, target, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("target 4 is outside the vocabulary of 4"),
              std::string::npos)
        << error.what();
  }
  EXPECT_THROW(linear_cross_entropy(x, torch::randn({4, 5}), target, 1), Error);
  EXPECT_THROW(linear_cross_entropy(x, weight.to(torch::kFloat64), target, 1), Error);
  EXPECT_THROW(linear_cross_entropy(x, weight, target.to(torch::kInt32), 1), Error);
  EXPECT_THROW(linear_cross_entropy(x, weight, target.slice(0, 0, 1), 1), Error);
  EXPECT_THROW(linear_cross_entropy(x, weight, target, {.bias_V = torch::randn({5})}), Error);
}

}  // namespace
}  // namespace evomoe
