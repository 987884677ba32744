#include "evomoe/models/key_value_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace evomoe {
namespace {

TEST(GrowingHeads, GiveWhatWasAppendedInItsOrder) {
  torch::manual_seed(1);
  GrowingHeads heads;
  EXPECT_FALSE(heads.kept_BKSC().defined());
  std::vector<torch::Tensor> parts;
  // Beyond the room that there is at first, in one part and in many.
  for (const int64_t count : {3, 1, 1, 40, 1, 0, 100, 7, 1, 1}) {
    parts.push_back(torch::randn({2, 3, count, 4}));
    const auto all = torch::cat(parts, 2);
    EXPECT_TRUE(torch::equal(heads.append(parts.back()), all)) << all.size(2);
    EXPECT_TRUE(torch::equal(heads.kept_BKSC(), all)) << all.size(2);
  }
}

TEST(GrowingHeads, OfAWindowKeepWhatLaterTokensSee) {
  for (const int64_t window : {1, 2, 5}) {
    GrowingHeads heads;
    auto kept = torch::randn({1, 1, 0, 2});
    for (int64_t i = 0; i < 100; ++i) {
      const auto next = torch::randn({1, 1, i % 10 == 0 ? 3 : 1, 2});
      const auto seen = torch::cat({kept, next}, 2);
      EXPECT_TRUE(torch::equal(heads.append(next, window), seen)) << window << " at " << i;
      kept = seen.slice(2, std::max<int64_t>(0, seen.size(2) - (window - 1)));
      EXPECT_TRUE(torch::equal(heads.kept_BKSC(), kept)) << window << " at " << i;
    }
  }
}

TEST(GrowingHeads, SequencesOfHypothesesAreChosenAnew) {
  torch::manual_seed(1);
  const auto first = torch::randn({3, 2, 5, 4}), second = torch::randn({4, 2, 1, 4});
  const auto row = torch::tensor({2, 0, 0, 1}, torch::kInt64);
  KeyValueCache cache;
  cache.key.resize(2);  // a layer that has seen nothing yet beside one that has
  cache.value.resize(1);
  cache.key[1].append(first);
  cache.value[0].append(first + 1);
  cache.select(row);
  const auto chosen = first.index_select(0, row);
  EXPECT_TRUE(torch::equal(cache.key[1].kept_BKSC(), chosen));
  EXPECT_TRUE(torch::equal(cache.value[0].kept_BKSC(), chosen + 1));
  EXPECT_TRUE(torch::equal(cache.key[1].append(second), torch::cat({chosen, second}, 2)));
}

TEST(GrowingHeads, HoldNoGraph) {
  GrowingHeads heads;
  const auto x = torch::randn({1, 1, 2, 2}).requires_grad_();
  EXPECT_FALSE(heads.append(x * 2).requires_grad());
}

}  // namespace
}  // namespace evomoe
