#include "evomoe/kernels/cpu/noise.h"

#include <gtest/gtest.h>

#include <vector>

namespace evomoe::kernels {
namespace {

NoiseKey some_key() {
  NoiseKey key;
  key.seed = 7;
  key.update = 3;
  key.layer = 2;
  key.site = NoiseSite::kGateGumbel;
  key.first_sequence = 5;
  key.sequence_length = 4;
  return key;
}

TEST(NoiseKernel, IsPhiloxAtEveryRowAndColumn) {
  const auto key = some_key();
  const auto words = philox_key(key);
  for (const int64_t columns : {1, 4, 7, 31, 32, 33, 100}) {
    constexpr int64_t kRows = 9;
    std::vector<float> uniform(static_cast<size_t>(kRows * columns)), gumbels(uniform.size());
    uniform_noise(uniform.data(), kRows, columns, key);
    gumbel_noise(gumbels.data(), kRows, columns, key);
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const auto block =
            philox_row_block(key, words, static_cast<uint64_t>(r), static_cast<uint32_t>(c / 4));
        const auto bits = block[static_cast<size_t>(c % 4)];
        const auto i = static_cast<size_t>(r * columns + c);
        ASSERT_EQ(uniform[i], unit_open(bits)) << r << " " << c << " of " << columns;
        ASSERT_EQ(gumbels[i], gumbel(bits)) << r << " " << c << " of " << columns;
      }
    }
  }
}

TEST(NoiseKernel, NormalNumbersHaveMeanZeroAndDeviationOne) {
  constexpr int64_t kRows = 200, kColumns = 501;
  std::vector<float> noise(kRows * kColumns);
  normal_noise(noise.data(), kRows, kColumns, some_key());
  double sum = 0, squares = 0, fourth = 0;
  for (const double x : noise) {
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  const auto n = static_cast<double>(noise.size());
  EXPECT_NEAR(sum / n, 0, 0.015);
  EXPECT_NEAR(squares / n, 1, 0.02);
  EXPECT_NEAR(fourth / n, 3, 0.15);
}

TEST(NoiseKernel, DropoutKeepsWhatTheUniformNumberSaysAndScalesIt) {
  const auto key = some_key();
  constexpr int64_t kRows = 6, kColumns = 45;
  constexpr double kProbability = 0.3;
  std::vector<float> x(kRows * kColumns, 2.0F), y(x.size()), uniform(x.size());
  dropout(x.data(), y.data(), nullptr, kRows, kColumns, 0, kProbability, key);
  uniform_noise(uniform.data(), kRows, kColumns, key);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(y[i], uniform[i] >= kProbability ? 2.0F * static_cast<float>(1 / 0.7) : 0.0F) << i;
  }
}

TEST(NoiseKernel, DropoutOfNamedTokensIsThatOfTheirRows) {
  const auto key = some_key();
  constexpr int64_t kRows = 6, kColumns = 45;
  std::vector<float> x(kRows * kColumns, 1.0F), y(x.size());
  dropout(x.data(), y.data(), nullptr, kRows, kColumns, /*first_block=*/3, 0.5, key);
  const std::vector<int64_t> token = {1, 4, 5};
  std::vector<float> part(token.size() * kColumns, 1.0F);
  dropout(part.data(), part.data(), token.data(), 3, kColumns, /*first_block=*/3, 0.5, key);
  for (size_t i = 0; i < token.size(); ++i) {
    for (size_t c = 0; c < kColumns; ++c) {
      EXPECT_EQ(part[i * kColumns + c], y[static_cast<size_t>(token[i]) * kColumns + c]);
    }
  }
}

}  // namespace
}  // namespace evomoe::kernels
