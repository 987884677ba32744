#include "evomoe/models/positions.h"

#include <gtest/gtest.h>

#include <cmath>

namespace evomoe {
namespace {

TEST(Positions, CountTokensFromBehindThePaddingIndex) {
  const auto token = torch::tensor({{7, 8, 9, 5}, {7, 8, 1, 1}}, torch::kInt64);
  EXPECT_TRUE(torch::equal(positions_of(token, token.eq(1), 1, 0),
                           torch::tensor({{2, 3, 4, 5}, {2, 3, 1, 1}}, torch::kInt64)));
  EXPECT_TRUE(
      torch::equal(positions_of(token, {}, 1, 6)[0], torch::tensor({8, 9, 10, 11}, torch::kInt64)));
}

TEST(Positions, BeginAnewWithEachSegmentOfARow) {
  const auto token = torch::full({2, 6}, 7, torch::kInt64);
  const auto segment = torch::tensor({{1, 1, 1, 2, 2, 3}, {1, 1, 2, 2, 0, 0}}, torch::kInt64);
  EXPECT_TRUE(torch::equal(positions_of(token, segment.eq(0), 1, 0, segment),
                           torch::tensor({{2, 3, 4, 2, 3, 2}, {2, 3, 2, 3, 1, 1}}, torch::kInt64)));
}

TEST(Positions, TheTableHoldsSinesThenCosines) {
  const int64_t dim = 7, rows = 30, padding = 1;  // odd: the last column is zero
  const auto table = sinusoidal_table(rows, dim, padding);
  ASSERT_EQ(table.sizes(), (std::vector<int64_t>{rows, dim}));
  for (int64_t p = 0; p < rows; ++p) {
    for (int64_t j = 0; j < dim; ++j) {
      const double frequency = std::exp(-(j % 3) * std::log(10000.0) / 2);
      double expected = j < 3 ? std::sin(p * frequency) : std::cos(p * frequency);
      if (j == 6 || p == padding) expected = 0;
      EXPECT_NEAR(table[p][j].item<double>(), expected, 1e-5) << p << " " << j;
    }
  }
}

}  // namespace
}  // namespace evomoe
