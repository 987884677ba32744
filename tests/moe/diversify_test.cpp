#include "evomoe/moe/diversify.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

constexpr int64_t kHiddenDim = 60, kModelDim = 40;

ExpertTensors one_expert() {
  torch::manual_seed(1);
  return {torch::randn({1, kHiddenDim, kModelDim}) + 3, torch::randn({1, kHiddenDim}),
          torch::randn({1, kModelDim, kHiddenDim}) * 2, torch::randn({1, kModelDim})};
}

ExpertTensors spawn(const std::string& operation, double ratio, int64_t E = 4, uint64_t seed = 1,
                    int64_t layer = 0, bool rescale = false, bool keep_first = false) {
  return diversify(
      one_expert(), E,
      {.operation = operation, .ratio = ratio, .rescale = rescale, .keep_first = keep_first}, seed,
      layer);
}

double share(const torch::Tensor& flags) { return flags.to(torch::kFloat64).mean().item<double>(); }

bool equal(const ExpertTensors& a, const ExpertTensors& b) {
  return torch::equal(a.w1, b.w1) && torch::equal(a.b1, b.b1) && torch::equal(a.w2, b.w2) &&
         torch::equal(a.b2, b.b2);
}

TEST(Diversify, CopyIsExact) {
  const auto one = one_expert();
  const auto many = spawn("copy", 0);
  for (int64_t e = 0; e < 4; ++e) {
    EXPECT_TRUE(torch::equal(many.w1[e], one.w1[0]));
    EXPECT_TRUE(torch::equal(many.b1[e], one.b1[0]));
    EXPECT_TRUE(torch::equal(many.w2[e], one.w2[0]));
    EXPECT_TRUE(torch::equal(many.b2[e], one.b2[0]));
  }
}

TEST(Diversify, ARatioOfZeroIsACopy) {
  for (const auto* operation : {"mask", "noise", "drop-upcycling"}) {
    EXPECT_TRUE(equal(spawn(operation, 0), spawn("copy", 0))) << operation;
  }
}

TEST(Diversify, MaskZeroesTheShareAndLeavesTheRest) {
  const auto copy = spawn("copy", 0), many = spawn("mask", 0.3);
  for (const auto& [matrix, original] :
       {std::pair{many.w1, copy.w1}, std::pair{many.w2, copy.w2}}) {
    EXPECT_NEAR(share(matrix == 0), 0.3, 0.02);
    EXPECT_TRUE(torch::equal(matrix, torch::where(matrix == 0, 0.0, original)));
  }
  EXPECT_TRUE(torch::equal(many.b1, copy.b1));
  EXPECT_TRUE(torch::equal(many.b2, copy.b2));
}

TEST(Diversify, RescaledMaskDividesWhatIsLeft) {
  const auto plain = spawn("mask", 0.2), rescaled = spawn("mask", 0.2, 4, 1, 0, /*rescale=*/true);
  EXPECT_TRUE(torch::allclose(rescaled.w1, plain.w1 / 0.8));
  EXPECT_TRUE(torch::allclose(rescaled.w2, plain.w2 / 0.8));
}

TEST(Diversify, NoiseHasTheShareOfTheDeviation) {
  const auto copy = spawn("copy", 0), many = spawn("noise", 0.25);
  EXPECT_NEAR((many.w1 - copy.w1).std().item<double>(), 0.25 * copy.w1[0].std().item<double>(),
              0.01);
  EXPECT_NEAR((many.w2 - copy.w2).std().item<double>(), 0.25 * copy.w2[0].std().item<double>(),
              0.02);
  EXPECT_NEAR((many.w2 - copy.w2).mean().item<double>(), 0, 0.02);
}

TEST(Diversify, DropUpcyclingDrawsWholeUnitsAgainWithTheirMoments) {
  const auto copy = spawn("copy", 0), many = spawn("drop-upcycling", 0.5);
  for (int64_t e = 0; e < 4; ++e) {
    const auto row_H = (many.w1[e] != copy.w1[e]).any(1),
               all_row_H = (many.w1[e] != copy.w1[e]).all(1);
    const auto column_H = (many.w2[e] != copy.w2[e]).any(0);
    EXPECT_TRUE(torch::equal(row_H, column_H));  // one set of units for both matrices
    EXPECT_TRUE(torch::equal(row_H, all_row_H));
    EXPECT_EQ(row_H.sum().item<int64_t>(), kHiddenDim / 2);
    const auto unit = row_H.nonzero().squeeze(1);
    const auto was = copy.w1[e].index_select(0, unit), is = many.w1[e].index_select(0, unit);
    EXPECT_NEAR(is.mean().item<double>(), was.mean().item<double>(), 0.1);
    EXPECT_NEAR(is.std().item<double>(), was.std().item<double>(), 0.1);
  }
  const auto all = spawn("drop-upcycling", 1.0);
  EXPECT_EQ(share(all.w1 == copy.w1), 0);
}

TEST(Diversify, ExpertsLayersAndSeedsDiffer) {
  for (const auto* operation : {"mask", "noise", "drop-upcycling"}) {
    const auto many = spawn(operation, 0.5);
    for (int64_t e = 1; e < 4; ++e) EXPECT_FALSE(torch::equal(many.w1[e], many.w1[0])) << operation;
    EXPECT_FALSE(equal(many, spawn(operation, 0.5, 4, /*seed=*/2))) << operation;
    EXPECT_FALSE(equal(many, spawn(operation, 0.5, 4, 1, /*layer=*/1))) << operation;
    EXPECT_TRUE(equal(many, spawn(operation, 0.5))) << operation;
  }
}

TEST(Diversify, AnExpertIsTheSameForAnyNumberOfExperts) {
  for (const auto* operation : {"mask", "noise", "drop-upcycling"}) {
    const auto few = spawn(operation, 0.4, 2), many = spawn(operation, 0.4, 7);
    EXPECT_TRUE(torch::equal(few.w1, many.w1.slice(0, 0, 2))) << operation;
    EXPECT_TRUE(torch::equal(few.w2, many.w2.slice(0, 0, 2))) << operation;
  }
}

TEST(Diversify, TheFirstExpertMayStayExact) {
  const auto copy = spawn("copy", 0);
  const auto many = spawn("mask", 0.5, 4, 1, 0, false, /*keep_first=*/true);
  EXPECT_TRUE(torch::equal(many.w1[0], copy.w1[0]));
  EXPECT_FALSE(torch::equal(many.w1[1], copy.w1[1]));
}

TEST(Diversify, MomentsFollowTheirRule) {
  const auto moment = torch::rand({1, 3, 5});
  const auto copied = diversify_moment(moment, 1, 4, "copy");
  EXPECT_TRUE(torch::equal(copied, moment.expand({4, 3, 5})));
  EXPECT_TRUE(copied.is_contiguous());
  EXPECT_EQ(diversify_moment(moment, 2, 4, "reset").abs().max().item<float>(), 0);
  EXPECT_TRUE(torch::allclose(diversify_moment(moment, 1, 4, "scale"), copied / 4));
  EXPECT_TRUE(torch::allclose(diversify_moment(moment, 2, 4, "scale"), copied / 16));
  EXPECT_TRUE(torch::equal(diversify_moment(moment, 0, 4, "scale"), copied))
      << "an update whose size does not depend on the gradient's";
  EXPECT_THROW(diversify_moment(moment, 1, 4, "keep"), UsageError);
  EXPECT_THROW(diversify_moment(torch::rand({2, 3}), 1, 4, "copy"), Error);
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
