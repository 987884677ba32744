#include "evomoe/routing/routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(Routing, FromMaskHoldsTheSelectedWeightsByExpertWithAscendingTokens) {
  torch::manual_seed(1);
  const auto selected_TE = torch::rand({37, 5}) < 0.4;
  const auto weight_TE = torch::rand({37, 5});
  const auto routing = Routing::from_mask(selected_TE, weight_TE);
  EXPECT_TRUE(torch::equal(routing.dense(37), weight_TE * selected_TE));
  EXPECT_EQ(routing.num_assignments(), selected_TE.sum().item<int64_t>());
  EXPECT_EQ(routing.num_experts(), 5);
  EXPECT_TRUE(routing.offset_E1.device().is_cpu());
  for (int64_t e = 0; e < 5; ++e) {
    const auto token_N = routing.token_A.slice(0, routing.offset_E1[e].item<int64_t>(),
                                               routing.offset_E1[e + 1].item<int64_t>());
    EXPECT_TRUE(torch::equal(token_N, selected_TE.select(1, e).nonzero().squeeze(1)));
  }
}

TEST(Routing, GradientReachesSelectedWeightsOnly) {
  const auto selected_TE = torch::tensor({{true, false}, {true, true}});
  auto weight_TE = torch::rand({2, 2}).requires_grad_();
  Routing::from_mask(selected_TE, weight_TE).weight_A.sum().backward();
  EXPECT_TRUE(torch::equal(weight_TE.grad(), selected_TE.to(torch::kFloat32)));
}

TEST(Routing, FromChoicesEqualsTheOneHotMask) {
  torch::manual_seed(2);
  const auto expert_T = torch::randint(-1, 6, {50}, torch::kInt64);
  const auto weight_T = torch::rand({50});
  const auto routing = Routing::from_choices(expert_T, weight_T, 6);
  const auto mask_TE = expert_T.unsqueeze(1) == torch::arange(6);
  const auto expected =
      Routing::from_mask(mask_TE, weight_T.unsqueeze(1).expand({50, 6}).contiguous());
  EXPECT_TRUE(torch::equal(routing.token_A, expected.token_A));
  EXPECT_TRUE(torch::equal(routing.weight_A, expected.weight_A));
  EXPECT_TRUE(torch::equal(routing.offset_E1, expected.offset_E1));
}

TEST(Routing, OfTokensIsTheRoutingOfTheseRowsAlone) {
  torch::manual_seed(3);
  const auto selected_TE = torch::rand({9, 4}) < 0.4;
  auto weight_TE = torch::rand({9, 4}).requires_grad_();
  const auto routing = Routing::from_mask(selected_TE, weight_TE);
  auto sum = torch::zeros({});
  for (const auto& [begin, end] : {std::pair{0, 4}, {4, 4}, {4, 9}}) {
    const auto found = routing.of_tokens(begin, end);
    const auto expected =
        Routing::from_mask(selected_TE.slice(0, begin, end), weight_TE.slice(0, begin, end));
    EXPECT_TRUE(torch::equal(found.token_A, expected.token_A));
    EXPECT_TRUE(torch::equal(found.weight_A, expected.weight_A));
    EXPECT_TRUE(torch::equal(found.offset_E1, expected.offset_E1));
    sum = sum + found.weight_A.sum();
  }
  sum.backward();
  EXPECT_TRUE(torch::equal(weight_TE.grad(), selected_TE.to(torch::kFloat32)));
}

TEST(Routing, EmptyExpertsAndNoAssignmentAtAllAreNormal) {
  const auto nobody = Routing::from_mask(torch::zeros({4, 3}, torch::kBool), torch::rand({4, 3}));
  EXPECT_EQ(nobody.num_assignments(), 0);
  EXPECT_TRUE(torch::equal(nobody.offset_E1, torch::zeros({4}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(nobody.dense(4), torch::zeros({4, 3})));
  const auto none = Routing::from_choices(torch::full({4}, -1, torch::kInt64), torch::rand({4}), 3);
  EXPECT_EQ(none.num_assignments(), 0);
  const auto no_tokens =
      Routing::from_mask(torch::zeros({0, 3}, torch::kBool), torch::zeros({0, 3}));
  EXPECT_EQ(no_tokens.num_assignments(), 0);
  const auto last_only =
      Routing::from_choices(torch::full({4}, 2, torch::kInt64), torch::rand({4}), 3);
  EXPECT_TRUE(torch::equal(last_only.offset_E1, torch::tensor({0, 0, 0, 4}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(last_only.expert_A(), torch::full({4}, 2, torch::kInt64)));
}

TEST(Routing, WrongShapesTypesAndExpertsAreNamed) {
  const auto mask_TE = torch::ones({4, 3}, torch::kBool);
  EXPECT_THAT(
      [&] {
        Routing::from_mask(mask_TE, torch::rand({4, 2}));
      },
      ThrowsMessage<Error>(HasSubstr("[4, 2]")));
  EXPECT_THAT(
      [&] {
        Routing::from_mask(mask_TE.to(torch::kInt64), torch::rand({4, 3}));
      },
      ThrowsMessage<Error>(HasSubstr("must be bool")));
  const auto expert_T = torch::tensor({0, 3}, torch::kInt64);
  EXPECT_THAT([&] { Routing::from_choices(expert_T, torch::rand({2}), 3); },
              ThrowsMessage<Error>(HasSubstr("expert 3")));
  EXPECT_THAT([&] { Routing::from_choices(expert_T, torch::rand({3}), 4); },
              ThrowsMessage<Error>(HasSubstr("same shape")));
}

}  // namespace
}  // namespace evomoe
