#include "evomoe/run/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kGiB = int64_t{1} << 30;

constexpr Recomputation kNothing{}, kExperts{.experts = true}, kBlocks{.blocks = true},
    kBoth{.experts = true, .blocks = true};

MemoryEstimate estimate(int64_t model, int64_t activations) {
  MemoryEstimate estimate;
  estimate.parameters = model * kGiB;
  estimate.activations = activations * kGiB;
  return estimate;
}

/// 10, 7, 5 and 4 GiB.
std::vector<MemoryChoice> choices() {
  return {{kNothing, estimate(2, 8)},
          {kExperts, estimate(2, 5)},
          {kBlocks, estimate(2, 3)},
          {kBoth, estimate(2, 2)}};
}

std::string refusal(const std::vector<MemoryChoice>& choices, int64_t budget) {
  try {
    choose_memory(choices, budget);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(MemoryPlan, RecomputesTheCheaperThingFirst) {
  EXPECT_THAT(recomputations(kNothing, true), ElementsAre(kNothing, kExperts, kBlocks, kBoth));
  EXPECT_THAT(recomputations(kNothing, false), ElementsAre(kNothing, kBlocks));
}

TEST(MemoryPlan, WhatIsAskedForStays) {
  EXPECT_THAT(recomputations(kExperts, true), ElementsAre(kExperts, kBoth));
  EXPECT_THAT(recomputations(kBlocks, true), ElementsAre(kBlocks, kBoth));
  EXPECT_THAT(recomputations(kBoth, true), ElementsAre(kBoth));
  EXPECT_THAT(recomputations(kExperts, false), ElementsAre(kExperts, kBoth));
}

TEST(MemoryPlan, TakesTheFirstChoiceThatFits) {
  const auto all = choices();
  const std::vector<std::pair<int64_t, Recomputation>> table = {
      {100, kNothing}, {10, kNothing}, {9, kExperts}, {7, kExperts},
      {6, kBlocks},    {5, kBlocks},   {4, kBoth}};
  for (const auto& [budget, expected] : table)
    EXPECT_EQ(choose_memory(all, budget * kGiB).recompute, expected) << budget;
}

TEST(MemoryPlan, WhatDoesNotFitIsRefusedWithNumbersAndRemedy) {
  EXPECT_THAT(refusal(choices(), 3 * kGiB),
              AllOf(HasSubstr("--memory-budget 3.00 GiB"), HasSubstr("4.00 GiB"),
                    HasSubstr("parameters 2.00 GiB"), HasSubstr("activations 2.00 GiB"),
                    HasSubstr("--batch-size"), Not(HasSubstr("--decoder-layers"))));
  // Where no batch is small enough, the model is too large.
  EXPECT_THAT(refusal(choices(), 2 * kGiB),
              AllOf(HasSubstr("--decoder-layers"), Not(HasSubstr("--batch-size"))));
}

TEST(MemoryPlan, NamesOffloadingWhereThatWouldDo) {
  auto all = choices();
  EXPECT_THAT(refusal(all, 3 * kGiB), Not(HasSubstr("--offload-moments")));
  for (auto& choice : all) choice.estimate.moments = 10 * kGiB;
  EXPECT_THAT(refusal(all, 5 * kGiB), HasSubstr("--offload-moments"));
  EXPECT_THAT(refusal(all, 3 * kGiB), Not(HasSubstr("--offload-moments")));
}

TEST(MemoryPlan, SaysWhatIsRecomputedAndWhy) {
  const auto all = choices();
  EXPECT_EQ(choice_text(all, all[0], 10 * kGiB), "--memory-budget 10.00 GiB: recomputes nothing");
  EXPECT_EQ(choice_text(all, all[2], 6 * kGiB),
            "--memory-budget 6.00 GiB: recomputes the layers (--checkpoint-activations), since it "
            "would take 10.00 GiB with nothing recomputed, 7.00 GiB with the experts' "
            "pre-activations (--recompute-experts) recomputed");
}

TEST(MemoryPlan, PartsOfNothingAreLeftOut) {
  EXPECT_EQ(memory_text(estimate(2, 1)), "3.00 GiB (parameters 2.00 GiB, activations 1.00 GiB)");
  EXPECT_EQ(memory_json(estimate(2, 1)).at("total"), 3 * kGiB);
}

}  // namespace
}  // namespace evomoe
