#include "evomoe/score/correlation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace evomoe {
namespace {

using Points = std::vector<std::pair<float, float>>;

TEST(Correlation, PearsonsSeesTheNumbersAndSpearmansTheirRanks) {
  const Points pairs = {{1, 1}, {2, 3}, {2, 2}, {3, 10}};
  EXPECT_NEAR(pearson_correlation(pairs), 9 / std::sqrt(2.0 * 50), 1e-12);
  // Ranks 0, 1.5, 1.5, 3 and 0, 2, 1, 3.
  EXPECT_NEAR(spearman_correlation(pairs), 4.5 / std::sqrt(4.5 * 5), 1e-12);
}

TEST(Correlation, GoesFromMinusOneToOneWhateverTheScale) {
  const Points rising = {{1, -7}, {2, -5}, {4, -1}}, falling = {{1, 3}, {2, 2}, {4, 0}};
  EXPECT_NEAR(pearson_correlation(rising), 1, 1e-12);
  EXPECT_NEAR(spearman_correlation(rising), 1, 1e-12);
  EXPECT_NEAR(pearson_correlation(falling), -1, 1e-12);
  EXPECT_NEAR(spearman_correlation(falling), -1, 1e-12);
}

TEST(Correlation, IsZeroWhereNothingVariesAndNotANumberWhereAnAnswerIsNone) {
  EXPECT_EQ(pearson_correlation({{1, 5}, {2, 5}}), 0);
  EXPECT_EQ(spearman_correlation({{3, 1}, {3, 2}}), 0);
  EXPECT_EQ(pearson_correlation({{1, 1}}), 0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(spearman_correlation({{1, nan}, {2, 1}, {3, nan}})));
}

TEST(Correlation, MatthewsIsThatOfTwoClasses) {
  EXPECT_EQ(matthews_correlation({{{5, 0}, {0, 5}}}), 1);
  EXPECT_NEAR(matthews_correlation({{{6, 3}, {1, 2}}}), 9 / std::sqrt(5.0 * 3 * 9 * 7), 1e-12);
  EXPECT_EQ(matthews_correlation({{{4, 0}, {2, 0}}}), 0);
}

}  // namespace
}  // namespace evomoe
