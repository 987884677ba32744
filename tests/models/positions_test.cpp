#include "evomoe/models/positions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evomoe/base/error.h"

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

/// Number j and number j + D/2 as a complex number, times e^(i position base^(-2j/D)).
torch::Tensor turned(const torch::Tensor& x_BHSD, const torch::Tensor& position_BS, double base) {
  auto y = x_BHSD.clone();
  const auto half = x_BHSD.size(3) / 2;
  for (int64_t b = 0; b < x_BHSD.size(0); ++b) {
    for (int64_t s = 0; s < x_BHSD.size(2); ++s) {
      for (int64_t j = 0; j < half; ++j) {
        const double angle =
            position_BS[b][s].item<double>() *
            std::pow(base, -2.0 * static_cast<double>(j) / static_cast<double>(2 * half));
        const auto x = x_BHSD.select(0, b).select(1, s);
        auto to = y.select(0, b).select(1, s);
        to.select(1, j).copy_(x.select(1, j) * std::cos(angle) -
                              x.select(1, j + half) * std::sin(angle));
        to.select(1, j + half)
            .copy_(x.select(1, j) * std::sin(angle) + x.select(1, j + half) * std::cos(angle));
      }
    }
  }
  return y;
}

TEST(RotaryPositions, TurnPairsOfNumbersByThePosition) {
  torch::manual_seed(6);
  const auto x = torch::randn({2, 3, 5, 8}, torch::kFloat64);
  const auto position = torch::tensor({{0, 1, 2, 3, 4}, {7, 0, 1, 100000, 2}}, torch::kInt64);
  for (const double base : {10000.0, 50.0}) {
    const auto expected = turned(x, position, base);
    EXPECT_TRUE(torch::allclose(rotated(x, rotation_of(position, 8, {.base = base}, x)), expected,
                                0, 1e-9));
    const auto single = x.to(torch::kFloat32);
    EXPECT_TRUE(torch::allclose(
        rotated(single, rotation_of(position, 8, {.base = base}, single)).to(torch::kFloat64),
        expected, 0, 1e-6));
  }
}

TEST(RotaryPositions, AScoreDependsOnTheDistanceAlone) {
  torch::manual_seed(6);
  const auto q = torch::randn({1, 1, 1, 8}, torch::kFloat64),
             k = torch::randn({1, 1, 1, 8}, torch::kFloat64);
  const auto score = [&](int64_t of_q, int64_t of_k) {
    const auto at = [&](const torch::Tensor& x, int64_t position) {
      return rotated(x, rotation_of(torch::tensor({{position}}, torch::kInt64), 8, {}, x));
    };
    return (at(q, of_q) * at(k, of_k)).sum().item<double>();
  };
  EXPECT_NEAR(score(9, 4), score(105, 100), 1e-10);
  EXPECT_GT(std::abs(score(9, 4) - score(9, 5)), 1e-3);
}

TEST(RotaryPositions, ScaledFrequenciesAreTransformers) {
  constexpr double kPi = 3.14159265358979323846;
  const int64_t width = 16;
  for (const std::string scaling : {"default", "linear", "llama3"}) {
    const RotaryOptions options{.base = 500,
                                .scaling = scaling,
                                .factor = scaling == "default" ? 1.0 : 8.0,
                                .low_factor = 1,
                                .high_factor = 4,
                                .original_positions = 64};
    options.validate();
    const auto found = rotary_frequencies(options, width);
    for (int64_t j = 0; j < width / 2; ++j) {
      const double plain = std::pow(500.0, -2.0 * static_cast<double>(j) / 16),
                   length = 2 * kPi / plain;
      double expected = plain;
      if (scaling == "linear") expected = plain / 8;
      if (scaling == "llama3" && length > 64 / 1.0) {
        expected = plain / 8;
      } else if (scaling == "llama3" && length >= 64 / 4.0) {
        const double smooth = (64 / length - 1) / (4 - 1);
        expected = (1 - smooth) * plain / 8 + smooth * plain;
      }
      EXPECT_NEAR(found[j].item<double>(), expected, 1e-12) << scaling << " " << j;
    }
  }
}

TEST(RotaryPositions, NumbersThatNoFrequencyComesOfAreNamed) {
  const auto refused = [](const char* words, const RotaryOptions& options) {
    EXPECT_THAT([&] { options.validate(); },
                ::testing::ThrowsMessage<UsageError>(::testing::HasSubstr(words)));
  };
  refused("--rotary-base 0", {.base = 0});
  refused("--rotary-scaling yarn", {.scaling = "yarn"});
  refused("--rotary-factor -1", {.scaling = "linear", .factor = -1});
  refused("--rotary-factor 2 needs --rotary-scaling", {.factor = 2});
  refused("--rotary-low-factor 4", {.scaling = "llama3", .factor = 2, .low_factor = 4});
  refused("--rotary-original-positions", {.scaling = "llama3", .original_positions = 0});
}

}  // namespace
}  // namespace evomoe
