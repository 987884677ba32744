#include "evomoe/moe/diversify.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr int64_t kHiddenDim = 60, kModelDim = 40;

/// A gated expert with biases.
ExpertWeights one_expert() {
  torch::manual_seed(1);
  ExpertWeights one;
  one.w1_EHD = torch::randn({1, kHiddenDim, kModelDim}) + 3;
  one.b1_EH = torch::randn({1, kHiddenDim});
  one.w2_EDH = torch::randn({1, kModelDim, kHiddenDim}) * 2;
  one.b2_ED = torch::randn({1, kModelDim});
  one.w3_EHD = torch::randn({1, kHiddenDim, kModelDim}) / 2 - 1;
  return one;
}

ExpertWeights spawn(const std::string& operation, double ratio, int64_t E = 4, uint64_t seed = 1,
                    int64_t layer = 0, bool rescale = false, bool keep_first = false) {
  return diversify(
      one_expert(), {0, E},
      {.operation = operation, .ratio = ratio, .rescale = rescale, .keep_first = keep_first}, seed,
      layer);
}

double share(const torch::Tensor& flags) { return flags.to(torch::kFloat64).mean().item<double>(); }

bool equal(const ExpertWeights& a, const ExpertWeights& b) {
  bool all = true;
  for_each_weight([&](const torch::Tensor& of_a,
                      const torch::Tensor& of_b) { all &= torch::equal(of_a, of_b); },
                  a, b);
  return all;
}

TEST(Diversify, CopyIsExact) {
  const auto one = one_expert();
  const auto many = spawn("copy", 0);
  for_each_weight(
      [](const torch::Tensor& of_many, const torch::Tensor& of_one) {
        for (int64_t e = 0; e < 4; ++e) EXPECT_TRUE(torch::equal(of_many[e], of_one[0]));
      },
      many, one);
}

TEST(Diversify, WhatTheExpertDoesNotHaveTheNewOnesDoNotHave) {
  auto one = one_expert();
  one.b1_EH = one.b2_ED = one.w3_EHD = torch::Tensor();
  const auto all = spawn("mask", 0.5);
  const auto many = diversify(one, {0, 4}, {.operation = "mask", .ratio = 0.5}, 1, 0);
  EXPECT_FALSE(many.b1_EH.defined() || many.b2_ED.defined() || many.w3_EHD.defined());
  EXPECT_TRUE(torch::equal(many.w1_EHD, all.w1_EHD));
  EXPECT_TRUE(torch::equal(many.w2_EDH, all.w2_EDH));
}

TEST(Diversify, ARatioOfZeroIsACopy) {
  for (const auto* operation : {"mask", "noise", "drop-upcycling"}) {
    EXPECT_TRUE(equal(spawn(operation, 0), spawn("copy", 0))) << operation;
  }
}

TEST(Diversify, MaskZeroesTheShareAndLeavesTheRest) {
  const auto copy = spawn("copy", 0), many = spawn("mask", 0.3);
  for (const auto& [matrix, original] :
       {std::pair{many.w1_EHD, copy.w1_EHD}, std::pair{many.w2_EDH, copy.w2_EDH},
        std::pair{many.w3_EHD, copy.w3_EHD}}) {
    EXPECT_NEAR(share(matrix == 0), 0.3, 0.02);
    EXPECT_TRUE(torch::equal(matrix, torch::where(matrix == 0, 0.0, original)));
  }
  EXPECT_TRUE(torch::equal(many.b1_EH, copy.b1_EH));
  EXPECT_TRUE(torch::equal(many.b2_ED, copy.b2_ED));
}

TEST(Diversify, RescaledMaskDividesWhatIsLeft) {
  const auto plain = spawn("mask", 0.2), rescaled = spawn("mask", 0.2, 4, 1, 0, /*rescale=*/true);
  EXPECT_TRUE(torch::allclose(rescaled.w1_EHD, plain.w1_EHD / 0.8));
  EXPECT_TRUE(torch::allclose(rescaled.w2_EDH, plain.w2_EDH / 0.8));
  EXPECT_TRUE(torch::allclose(rescaled.w3_EHD, plain.w3_EHD / 0.8));
}

TEST(Diversify, NoiseHasTheShareOfTheDeviation) {
  const auto copy = spawn("copy", 0), many = spawn("noise", 0.25);
  EXPECT_NEAR((many.w1_EHD - copy.w1_EHD).std().item<double>(),
              0.25 * copy.w1_EHD[0].std().item<double>(), 0.01);
  EXPECT_NEAR((many.w2_EDH - copy.w2_EDH).std().item<double>(),
              0.25 * copy.w2_EDH[0].std().item<double>(), 0.02);
  EXPECT_NEAR((many.w2_EDH - copy.w2_EDH).mean().item<double>(), 0, 0.02);
  EXPECT_NEAR((many.w3_EHD - copy.w3_EHD).std().item<double>(),
              0.25 * copy.w3_EHD[0].std().item<double>(), 0.01);
  EXPECT_FALSE(torch::allclose((many.w3_EHD - copy.w3_EHD) / copy.w3_EHD.std(),
                               (many.w1_EHD - copy.w1_EHD) / copy.w1_EHD.std(), 1e-2, 1e-3));
}

TEST(Diversify, DropUpcyclingDrawsWholeUnitsAgainWithTheirMoments) {
  const auto copy = spawn("copy", 0), many = spawn("drop-upcycling", 0.5);
  for (int64_t e = 0; e < 4; ++e) {
    const auto row_H = (many.w1_EHD[e] != copy.w1_EHD[e]).any(1),
               all_row_H = (many.w1_EHD[e] != copy.w1_EHD[e]).all(1);
    const auto column_H = (many.w2_EDH[e] != copy.w2_EDH[e]).any(0);
    EXPECT_TRUE(torch::equal(row_H, column_H));  // one set of units for all matrices
    EXPECT_TRUE(torch::equal(row_H, all_row_H));
    EXPECT_EQ(row_H.sum().item<int64_t>(), kHiddenDim / 2);
    EXPECT_TRUE(torch::equal(row_H, (many.w3_EHD[e] != copy.w3_EHD[e]).any(1)));
    EXPECT_TRUE(torch::equal(row_H, (many.w3_EHD[e] != copy.w3_EHD[e]).all(1)));
    const auto unit = row_H.nonzero().squeeze(1);
    for (const auto& [before, after] :
         {std::pair{copy.w1_EHD, many.w1_EHD}, std::pair{copy.w3_EHD, many.w3_EHD}}) {
      const auto was = before[e].index_select(0, unit), is = after[e].index_select(0, unit);
      EXPECT_NEAR(is.mean().item<double>(), was.mean().item<double>(), 0.1);
      EXPECT_NEAR(is.std().item<double>(), was.std().item<double>(), 0.1);
    }
  }
  const auto all = spawn("drop-upcycling", 1.0);
  EXPECT_EQ(share(all.w1_EHD == copy.w1_EHD), 0);
}

TEST(Diversify, ExpertsLayersAndSeedsDiffer) {
  for (const auto* operation : {"mask", "noise", "drop-upcycling"}) {
    const auto many = spawn(operation, 0.5);
    for (int64_t e = 1; e < 4; ++e)
      EXPECT_FALSE(torch::equal(many.w1_EHD[e], many.w1_EHD[0])) << operation;
    EXPECT_FALSE(equal(many, spawn(operation, 0.5, 4, /*seed=*/2))) << operation;
    EXPECT_FALSE(equal(many, spawn(operation, 0.5, 4, 1, /*layer=*/1))) << operation;
    EXPECT_TRUE(equal(many, spawn(operation, 0.5))) << operation;
  }
}

TEST(Diversify, AnExpertIsTheSameForAnyNumberOfExperts) {
  for (const auto* operation : {"mask", "noise", "drop-upcycling"}) {
    const auto few = spawn(operation, 0.4, 2), many = spawn(operation, 0.4, 7);
    EXPECT_TRUE(torch::equal(few.w1_EHD, many.w1_EHD.slice(0, 0, 2))) << operation;
    EXPECT_TRUE(torch::equal(few.w2_EDH, many.w2_EDH.slice(0, 0, 2))) << operation;
  }
}

TEST(Diversify, TheFirstExpertMayStayExact) {
  const auto copy = spawn("copy", 0);
  const auto many = spawn("mask", 0.5, 4, 1, 0, false, /*keep_first=*/true);
  EXPECT_TRUE(torch::equal(many.w1_EHD[0], copy.w1_EHD[0]));
  EXPECT_FALSE(torch::equal(many.w1_EHD[1], copy.w1_EHD[1]));
}

TEST(Diversify, MomentsFollowTheirRule) {
  const auto moment = torch::rand({1, 3, 5});
  const auto copied = diversify_moment(moment, 1, 4, 4, "copy");
  EXPECT_TRUE(torch::equal(copied, moment.expand({4, 3, 5})));
  EXPECT_TRUE(copied.is_contiguous());
  EXPECT_EQ(diversify_moment(moment, 2, 4, 4, "reset").abs().max().item<float>(), 0);
  EXPECT_TRUE(torch::allclose(diversify_moment(moment, 1, 4, 4, "scale"), copied / 4));
  EXPECT_TRUE(torch::allclose(diversify_moment(moment, 2, 4, 4, "scale"), copied / 16));
  EXPECT_TRUE(torch::equal(diversify_moment(moment, 0, 4, 4, "scale"), copied))
      << "an update whose size does not depend on the gradient's";
  EXPECT_THROW(diversify_moment(moment, 1, 4, 4, "keep"), UsageError);
  EXPECT_THROW(diversify_moment(torch::rand({2, 3}), 1, 4, 4, "copy"), Error);
}

TEST(Diversify, ImpossibleOptionsAreRefused) {
  EXPECT_THROW(spawn("masks", 0.5), UsageError);
  EXPECT_THROW(spawn("mask", 1.0), UsageError);
  EXPECT_THROW(spawn("mask", -0.1), UsageError);
  EXPECT_THROW(spawn("drop-upcycling", 1.1), UsageError);
  EXPECT_THROW(spawn("noise", -1), UsageError);
  EXPECT_THROW(spawn("noise", 0.1, 4, 1, 0, /*rescale=*/true), UsageError);
  EXPECT_THROW(spawn("copy", 0, 0), Error);
}

}  // namespace
}  // namespace evomoe
