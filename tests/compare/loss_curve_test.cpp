#include "evomoe/compare/loss_curve.h"

#include <gtest/gtest.h>

#include <cmath>

namespace evomoe {
namespace {

TEST(LossCurves, APowerLawIsFoundAgainFromThreeLengthsAndFromMore) {
  for (const auto& [a, b, c] : {std::tuple(1.5, 40.0, 0.3), std::tuple(3.0, 900.0, 0.7)}) {
    for (const int lengths : {3, 6}) {
      std::vector<std::pair<double, double>> points;
      for (int i = 0; i < lengths; ++i) {
        const double cost = 1e12 * std::pow(2, i);
        points.emplace_back(cost, a + b * std::pow(cost, -c) * std::pow(1e12, c - 0.1));
      }
      const auto curve = fit_loss_curve(points);
      ASSERT_TRUE(curve);
      ASSERT_TRUE(curve->c);
      EXPECT_NEAR(curve->a, a, 1e-3);
      EXPECT_NEAR(*curve->c, c, 1e-3);
      EXPECT_LT(curve->error, 1e-6);
      for (const auto& [cost, loss] : points) EXPECT_NEAR(*curve->cost(loss) / cost, 1, 1e-4);
    }
  }
}

TEST(LossCurves, TwoLengthsAreALineOverTheLogarithm) {
  const auto curve = fit_loss_curve({{100, 5.0}, {400, 4.0}});
  ASSERT_TRUE(curve);
  EXPECT_FALSE(curve->c);
  EXPECT_NEAR(curve->loss(200), 4.5, 1e-12);
  EXPECT_NEAR(*curve->cost(4.5), 200, 1e-9);
  EXPECT_FALSE(curve->extrapolates(200));
  EXPECT_NEAR(*curve->cost(3.0), 1600, 1e-8);
  EXPECT_TRUE(curve->extrapolates(1600));
  EXPECT_TRUE(curve->extrapolates(99));
}

TEST(LossCurves, TheFloorIsNotBelowZeroAndNoCostComesBelowIt) {
  // Falls faster at the end than any power law with a floor of 0 or more.
  const auto steep = fit_loss_curve({{1, 4.0}, {2, 3.9}, {4, 1.0}});
  ASSERT_TRUE(steep);
  EXPECT_GE(steep->a, 0);
  EXPECT_GT(steep->error, 0.1);
  const auto flat = fit_loss_curve({{1, 4.0}, {2, 3.0}, {4, 2.5}, {8, 2.25}});
  ASSERT_TRUE(flat);
  EXPECT_NEAR(flat->a, 2, 1e-3);
  EXPECT_FALSE(flat->cost(1.9));
}

TEST(LossCurves, OneLengthAndALossThatRisesHaveNone) {
  EXPECT_FALSE(fit_loss_curve({}));
  EXPECT_FALSE(fit_loss_curve({{1, 4.0}, {1, 3.0}}));
  EXPECT_FALSE(fit_loss_curve({{1, 4.0}, {2, 4.5}}));
  EXPECT_FALSE(fit_loss_curve({{1, 4.0}, {2, 4.5}, {4, 5.0}}));
  EXPECT_FALSE(fit_loss_curve({{0, 4.0}, {2, 3.5}}));
}

}  // namespace
}  // namespace evomoe
