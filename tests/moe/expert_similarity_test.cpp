#include "evomoe/moe/expert_similarity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

/// Of experts with these two matrices each, on one rank.
std::optional<ExpertSimilarity> similarity(const torch::Tensor& first,
                                           const torch::Tensor& second) {
  const auto experts = first.size(0);
  SelfCommunicator alone;
  return similarity_of_experts(experts,
                               {{.own = first.flatten(), .of_expert = first[0].numel()},
                                {.own = second.flatten(), .of_expert = second[0].numel()}},
                               alone);
}

TEST(ExpertSimilarity, OfCopiesIsOne) {
  const auto one = torch::randn({1, 6, 4});
  const auto found = similarity(one.expand({3, 6, 4}), one.transpose(1, 2).expand({3, 4, 6}));
  ASSERT_TRUE(found);
  EXPECT_NEAR(found->mean, 1, 1e-6);
  EXPECT_NEAR(found->least, 1, 1e-6);
}

TEST(ExpertSimilarity, IsTheCosineOfEachPair) {
  // Experts (1, 0), (0, 1), (1, 1): cosines 0, 1/sqrt 2, 1/sqrt 2.
  const auto w1 = torch::tensor({1.0F, 0.0F, 0.0F, 1.0F, 1.0F, 1.0F}).view({3, 1, 2});
  const auto found = similarity(w1, torch::zeros({3, 2, 1}));
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
  const auto found = similarity(both, torch::zeros({2, 2048, 1024}));
  ASSERT_TRUE(found);
  EXPECT_NEAR(found->mean, std::sqrt(.5), 0.01) << "half of the elements are zero";
}

TEST(ExpertSimilarity, OfExpertsThatRanksDivideIsThatOfOneRank) {
  EVOMOE_NEEDS_RANKS();
  torch::manual_seed(2);
  const auto first = torch::randn({5, 600, 1000}), second = torch::randn({5, 70});
  const auto expected = similarity(first, second);
  ASSERT_TRUE(expected);
  // Rank 0 has experts 0 to 2, rank 1 the others; of the first matrix each holds them, of the
  // second they divide the elements of all five, somewhere within an expert.
  const auto found = testing::on_ranks(2, [&](const std::shared_ptr<Communicator>& ranks) {
    const int64_t begin = ranks->rank() == 0 ? 0 : 3, end = ranks->rank() == 0 ? 3 : 5;
    const int64_t from = ranks->rank() == 0 ? 0 : 173, to = ranks->rank() == 0 ? 173 : 350;
    return similarity_of_experts(
        5,
        {{.own = first.slice(0, begin, end).flatten(), .of_expert = 600000, .first_expert = begin},
         {.own = second.flatten().slice(0, from, to), .of_expert = 70, .begin = from}},
        *ranks);
  });
  for (const auto& similarity : found) {
    ASSERT_TRUE(similarity);
    EXPECT_NEAR(similarity->mean, expected->mean, 1e-7);
    EXPECT_NEAR(similarity->least, expected->least, 1e-7);
    EXPECT_NEAR(similarity->most, expected->most, 1e-7);
  }
}

TEST(ExpertSimilarity, IsNothingOfOneExpert) {
  EXPECT_FALSE(similarity(torch::ones({1, 2, 2}), torch::ones({1, 2, 2})));
}

}  // namespace
}  // namespace evomoe
