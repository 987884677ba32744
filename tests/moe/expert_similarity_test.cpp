#include "evomoe/moe/expert_similarity.h"

#include <gtest/gtest.h>

#include <cmath>

namespace evomoe {
namespace {

ExpertWeights experts(const torch::Tensor& w1_EHD, const torch::Tensor& w2_EDH) {
  ExpertWeights weights;
  weights.w1_EHD = w1_EHD;
  weights.w2_EDH = w2_EDH;
  return weights;
}

TEST(ExpertSimilarity, OfCopiesIsOne) {
  const auto one = torch::randn({1, 6, 4});
  const auto found =
      similarity_of_experts(experts(one.expand({3, 6, 4}), one.transpose(1, 2).expand({3, 4, 6})));
  ASSERT_TRUE(found);
  EXPECT_NEAR(found->mean, 1, 1e-6);
  EXPECT_NEAR(found->least, 1, 1e-6);
}

TEST(ExpertSimilarity, IsTheCosineOfEachPair) {
  // Experts (1, 0), (0, 1), (1, 1): cosines 0, 1/sqrt 2, 1/sqrt 2.
  const auto w1 = torch::tensor({1.0F, 0.0F, 0.0F, 1.0F, 1.0F, 1.0F}).view({3, 1, 2});
  const auto found = similarity_of_experts(experts(w1, torch::zeros({3, 2, 1})));
  ASSERT_TRUE(found);
  EXPECT_NEAR(found->least, 0, 1e-6);
  EXPECT_NEAR(found->most, std::sqrt(.5), 1e-6);
  EXPECT_NEAR(found->mean, 2 * std::sqrt(.5) / 3, 1e-6);
}

TEST(ExpertSimilarity, OfLargeExpertsIsThatOfAPartOfTheirElements) {
  torch::manual_seed(1);
  const auto w1 = torch::randn({2, 1024, 2048});
  const auto masked = w1 * (torch::rand({2, 1024, 2048}) < 0.5);
  const auto both = torch::cat({w1.slice(0, 0, 1), masked.slice(0, 0, 1)});
  const auto found = similarity_of_experts(experts(both, torch::zeros({2, 2048, 1024})));
  ASSERT_TRUE(found);
  EXPECT_NEAR(found->mean, std::sqrt(.5), 0.01) << "half of the elements are zero";
}

TEST(ExpertSimilarity, IsNothingOfOneExpert) {
  EXPECT_FALSE(similarity_of_experts(experts(torch::ones({1, 2, 2}), torch::ones({1, 2, 2}))));
}

}  // namespace
}  // namespace evomoe
