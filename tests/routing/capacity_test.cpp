#include "evomoe/routing/capacity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Routing random_routing(int64_t num_tokens, int64_t num_experts, double share,
                       torch::Tensor* weight_TE = nullptr) {
  auto weights = torch::rand({num_tokens, num_experts}, torch::kFloat64);
  if (weight_TE != nullptr) *weight_TE = weights.requires_grad_();
  return Routing::from_mask(torch::rand({num_tokens, num_experts}) < share, weights);
}

/// The filter by its definition: sort each expert's assignments by key, cut, mark.
torch::Tensor kept_by_definition(const Routing& routing, int64_t num_tokens, int64_t capacity,
                                 const torch::Tensor& key_A) {
  auto kept_TE = torch::zeros({num_tokens, routing.num_experts()}, torch::kBool);
  for (int64_t e = 0; e < routing.num_experts(); ++e) {
    std::vector<std::pair<double, int64_t>> queue;
    for (int64_t a = routing.offset_E1[e].item<int64_t>();
         a < routing.offset_E1[e + 1].item<int64_t>(); ++a) {
      queue.emplace_back(key_A[a].to(torch::kFloat64).item<double>(),
                         routing.token_A[a].item<int64_t>());
    }
    std::sort(queue.begin(), queue.end());
    for (int64_t i = 0; i < std::min<int64_t>(capacity, queue.size()); ++i) {
      kept_TE[queue[i].second][e] = true;
    }
  }
  return kept_TE;
}

TEST(Capacity, BothPoliciesKeepWhatTheirDefinitionSays) {
  torch::manual_seed(3);
  for (const double share : {0.1, 0.5, 1.0}) {
    for (const int64_t capacity : {0, 1, 5, 30, 100}) {
      const auto routing = random_routing(40, 4, share);
      const auto dense_TE = routing.dense(40);
      for (const std::string policy : {"position", "probs"}) {
        const auto key_A = policy == "position" ? routing.token_A : -routing.weight_A;
        const auto kept = apply_capacity(routing, capacity, policy);
        const auto expected_TE = dense_TE * kept_by_definition(routing, 40, capacity, key_A);
        EXPECT_TRUE(torch::equal(kept.dense(40), expected_TE)) << policy << capacity;
        EXPECT_EQ(kept.stats.assignments, kept.num_assignments());
        const int64_t dropped = routing.num_assignments() - kept.num_assignments();
        EXPECT_EQ(kept.stats.dropped.defined() ? kept.stats.dropped.item<int64_t>() : 0, dropped);
      }
    }
  }
}

TEST(Capacity, PositionServesLowerPriorityNumbersFirst) {
  torch::manual_seed(4);
  auto routing = random_routing(40, 4, 0.7);
  routing.priority_A = torch::randperm(routing.num_assignments(), torch::kInt64);
  const auto kept = apply_capacity(routing, 6, "position");
  EXPECT_TRUE(torch::equal(
      kept.dense(40), routing.dense(40) * kept_by_definition(routing, 40, 6, routing.priority_A)));
  EXPECT_EQ(kept.priority_A.size(0), kept.num_assignments());
  // Within each expert the slots are 0 .. n-1, and they follow the priorities.
  const auto slot_A = slots(kept);
  for (int64_t e = 0; e < 4; ++e) {
    const auto begin = kept.offset_E1[e].item<int64_t>();
    const auto end = kept.offset_E1[e + 1].item<int64_t>();
    const auto order = kept.priority_A.slice(0, begin, end).argsort();
    EXPECT_TRUE(torch::equal(slot_A.slice(0, begin, end).index_select(0, order),
                             torch::arange(end - begin, torch::kInt64)));
  }
}

TEST(Capacity, EqualWeightsAreKeptInTokenOrder) {
  const auto routing = Routing::from_choices(torch::zeros({6}, torch::kInt64), torch::ones({6}), 2);
  const auto kept = apply_capacity(routing, 2, "probs");
  EXPECT_TRUE(torch::equal(kept.token_A, torch::tensor({0, 1}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(kept.offset_E1, torch::tensor({0, 2, 2}, torch::kInt64)));
}

TEST(Capacity, GradientToKeptWeightsIsExactAndDroppedOnesGetNone) {
  torch::manual_seed(5);
  torch::Tensor weight_TE;
  const auto routing = random_routing(30, 3, 0.8, &weight_TE);
  const auto factor_TE = torch::rand({30, 3}, torch::kFloat64);
  const auto kept = apply_capacity(routing, 4, "probs");
  (kept.dense(30) * factor_TE).sum().backward();
  EXPECT_TRUE(torch::equal(weight_TE.grad(), factor_TE * (kept.dense(30).detach() != 0)));
}

TEST(Capacity, NormalisationAfterDroppingSumsToOneAndMatchesFiniteDifferences) {
  torch::manual_seed(6);
  const auto selected_TE = torch::rand({20, 4}) < 0.6;
  const auto factor_TE = torch::rand({20, 4}, torch::kFloat64);
  const auto objective = [&](const torch::Tensor& weight_TE) {
    auto routing = Routing::from_mask(selected_TE, weight_TE);
    routing.normalize_after_drop = true;
    return apply_capacity(std::move(routing), 3, "position").dense(20);
  };
  auto weight_TE = (torch::rand({20, 4}, torch::kFloat64) + 0.1).requires_grad_();
  const auto dense_TE = objective(weight_TE);
  const auto sum_T = dense_TE.sum(1);
  EXPECT_TRUE(torch::allclose(sum_T, (sum_T > 0).to(torch::kFloat64)));
  (dense_TE * factor_TE).sum().backward();
  const torch::NoGradGuard no_grad;
  for (int64_t i = 0; i < weight_TE.numel(); ++i) {
    auto up = weight_TE.clone();
    auto down = weight_TE.clone();
    up.view(-1)[i] += 1e-6;
    down.view(-1)[i] -= 1e-6;
    const auto slope = ((objective(up) - objective(down)) * factor_TE).sum().item<double>() / 2e-6;
    EXPECT_NEAR(weight_TE.grad().view(-1)[i].item<double>(), slope, 1e-8);
  }
}

TEST(Capacity, WithoutOneNothingIsDroppedAndWeightsAreNormalisedWhereAskedFor) {
  torch::manual_seed(7);
  auto routing = random_routing(20, 4, 0.6);
  const auto before_TE = routing.dense(20);
  EXPECT_TRUE(torch::equal(apply_capacity(routing, std::nullopt, "position").dense(20), before_TE));
  routing.normalize_after_drop = true;
  const auto sum_T1 = before_TE.sum(1, true);
  EXPECT_TRUE(torch::allclose(apply_capacity(routing, std::nullopt, "position").dense(20),
                              before_TE / sum_T1.masked_fill(sum_T1 == 0, 1)));
}

TEST(Capacity, DropsOfPaddingAreNotCounted) {
  const auto routing = Routing::from_choices(torch::zeros({6}, torch::kInt64), torch::ones({6}), 2);
  const auto valid_T = torch::tensor({true, true, true, false, true, false});
  const auto kept = apply_capacity(routing, 2, "position", valid_T);
  EXPECT_EQ(kept.num_assignments(), 2);
  EXPECT_EQ(kept.stats.dropped.item<int64_t>(), 2);
}

TEST(Capacity, NoAssignmentAtAllIsNormal) {
  auto routing = Routing::from_mask(torch::zeros({4, 3}, torch::kBool), torch::rand({4, 3}));
  routing.normalize_after_drop = true;
  for (const auto* policy : {"position", "probs"}) {
    EXPECT_EQ(apply_capacity(routing, 0, policy).num_assignments(), 0);
  }
  EXPECT_EQ(slots(routing).size(0), 0);
}

TEST(Capacity, WrongArgumentsAreNamed) {
  const auto routing = random_routing(4, 2, 1.0);
  EXPECT_THAT([&] { apply_capacity(routing, 2, "first"); },
              ThrowsMessage<Error>(HasSubstr("position and probs")));
  EXPECT_THAT([&] { apply_capacity(routing, -1, "probs"); }, ThrowsMessage<Error>(HasSubstr("-1")));
}

}  // namespace
}  // namespace evomoe
