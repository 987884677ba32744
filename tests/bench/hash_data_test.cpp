#include "evomoe/bench/hash_data.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace evomoe::bench {
namespace {

// The values that the recipe of the peer benchmarks names, or that its Python code gives.
TEST(HashData, MakesTheNumbersOfTheRecipe) {
  EXPECT_EQ(hash_word(1, 0), 3246858695411730098U);
  EXPECT_EQ(hash_word(1, 1), 8468297219712610898U);
  EXPECT_DOUBLE_EQ(hash_value(1, 0), -0.64797496795654297);
  EXPECT_DOUBLE_EQ(hash_open_unit(3, 7), 0.58119287021091415);
  EXPECT_EQ(hash_tokens(100000, 4, 512), (std::vector<int64_t>{219, 375, 251, 153}));
}

TEST(HashData, ATensorIsItsStreamInRowMajorOrder) {
  const auto tensor = hash_tensor(5, {2, 3}, 0.5);
  EXPECT_FLOAT_EQ(tensor[1][0].item<float>(), static_cast<float>(0.5 * hash_value(5, 3)));
}

TEST(HashData, TheProjectionIsTheInnerProductWithAStream) {
  EXPECT_NEAR(projection(hash_tensor(5, {7, 3}), 101), -2.152695055473444, 1e-12);
  EXPECT_NE(projection(hash_tensor(5, {7, 3}).t(), 101), projection(hash_tensor(5, {7, 3}), 101));
  EXPECT_EQ(projection(torch::zeros({0}), 1), 0);
}

TEST(HashData, TheProjectionDoesNotDependOnTheNumberOfThreads) {
  const auto tensor = hash_tensor(5, {3, 300001});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const double one = projection(tensor, 9);
  at::set_num_threads(3);
  EXPECT_EQ(projection(tensor, 9), one);
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace evomoe::bench
