#include "evomoe/ops/noise.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

NoiseKey some_key() {
  NoiseKey key;
  key.seed = 11;
  key.update = 0xFFFFFFFF;
  key.site = NoiseSite::kGateGumbel;
  key.first_sequence = 2;
  key.sequence_length = 5;
  return key;
}

TEST(Noise, TensorFormGivesTheWordsOfPhilox) {
  for (const uint32_t length : {0U, 5U}) {
    auto key = some_key();
    key.sequence_length = length;
    const auto token = torch::tensor({0, 1, 4, 5, 12, 13}, torch::kInt64);
    const auto words = philox_words(token, /*first_block=*/3, /*num_blocks=*/4, key);
    const auto key_words = philox_key(key);
    for (int64_t i = 0; i < token.size(0); ++i) {
      for (int64_t c = 0; c < 16; ++c) {
        const auto block =
            philox_row_block(key, key_words, static_cast<uint64_t>(token[i].item<int64_t>()),
                             static_cast<uint32_t>(3 + c / 4));
        ASSERT_EQ(words[i][c].item<int64_t>(), int64_t{block[static_cast<size_t>(c % 4)]});
      }
    }
  }
}

TEST(Noise, SplittingABatchLeavesEveryNumber) {
  const auto key = some_key();
  const auto whole = gumbel_noise(20, 6, key, torch::kCPU);
  auto second = key;
  second.first_sequence += 3;  // the micro-batch that starts with the fourth sequence
  EXPECT_TRUE(torch::equal(whole.slice(0, 15), gumbel_noise(5, 6, second, torch::kCPU)));
  EXPECT_TRUE(torch::equal(whole.slice(0, 0, 15), gumbel_noise(15, 6, key, torch::kCPU)));
  EXPECT_TRUE(torch::equal(whole.slice(1, 0, 3), gumbel_noise(20, 3, key, torch::kCPU)));
}

TEST(Noise, SeedUpdateLayerAndSiteEachChangeIt) {
  const auto key = some_key();
  const auto noise = uniform_noise(4, 8, key, torch::kCPU);
  auto other = key;
  other.seed = 12;
  EXPECT_FALSE(torch::equal(noise, uniform_noise(4, 8, other, torch::kCPU)));
  other = key;
  other.update = 1;
  EXPECT_FALSE(torch::equal(noise, uniform_noise(4, 8, other, torch::kCPU)));
  EXPECT_FALSE(
      torch::equal(noise, uniform_noise(4, 8, key.at(1, NoiseSite::kGateGumbel), torch::kCPU)));
  EXPECT_FALSE(
      torch::equal(noise, uniform_noise(4, 8, key.at(0, NoiseSite::kValidation), torch::kCPU)));
}

TEST(Noise, ThreadsDoNotChangeIt) {
  const auto threads = torch::get_num_threads();
  torch::set_num_threads(1);
  const auto one = normal_noise(64, 1000, some_key(), torch::kCPU);
  torch::set_num_threads(2);
  EXPECT_TRUE(torch::equal(one, normal_noise(64, 1000, some_key(), torch::kCPU)));
  torch::set_num_threads(threads);
}

TEST(Noise, EmptyGridsAreFineAndNegativeOnesAreErrors) {
  EXPECT_EQ(uniform_noise(0, 4, some_key(), torch::kCPU).numel(), 0);
  EXPECT_EQ(normal_noise(3, 0, some_key(), torch::kCPU).numel(), 0);
  EXPECT_THROW(uniform_noise(-1, 4, some_key(), torch::kCPU), Error);
}

}  // namespace
}  // namespace evomoe
