#include "evomoe/bench/timing.h"

#include <gtest/gtest.h>

#include "evomoe/base/error.h"

namespace evomoe::bench {
namespace {

TEST(Timing, TheMedianIsTheMiddleValue) {
  EXPECT_EQ(median_of({3, 1, 2}), 2);
  EXPECT_EQ(median_of({4, 1, 2, 3}), 2.5);
  EXPECT_THROW(median_of({}), Error);
  const Timing timing{{3, 1, 7}};
  EXPECT_EQ(timing.median(), 3);
  EXPECT_EQ(timing.minimum(), 1);
  EXPECT_EQ(timing.maximum(), 7);
}

TEST(Timing, EachRepeatIsPreparedOutsideOfIt) {
  std::string calls;
  const auto timing = measure([&] { calls += "r"; }, 3, [&] { calls += "p"; });
  EXPECT_EQ(calls, "prprpr");
  EXPECT_EQ(timing.samples_ms.size(), 3U);
}

TEST(Timing, StopsWhenTheTimeIsUsedUp) {
  int calls = 0;
  measure([&] { ++calls; }, 1000, [] {}, /*budget_s=*/0);
  EXPECT_LE(calls, 3);
}

}  // namespace
}  // namespace evomoe::bench
