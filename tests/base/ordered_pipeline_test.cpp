#include "evomoe/base/ordered_pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace evomoe {
namespace {

using Pipeline = OrderedPipeline<int, int>;

/// Gives 0, 1, ... to `count`.
Pipeline::Read numbers(int count, int& next) {
  return [count, &next](int& piece) {
    piece = next;
    return next++ < count;
  };
}

TEST(OrderedPipeline, CollectsInTheOrderOfReading) {
  for (const int threads : {1, 2, 7}) {
    int next = 0;
    std::vector<int> done;
    Pipeline::run(
        threads, numbers(200, next),
        [](const int& piece) {
          if (piece % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
          return piece * 2;
        },
        [&](const int& piece, int& result) {
          EXPECT_EQ(result, 2 * piece);
          done.push_back(piece);
        });
    ASSERT_EQ(done.size(), 200u);
    for (int i = 0; i < 200; ++i) EXPECT_EQ(done[i], i);
  }
}

TEST(OrderedPipeline, DoesNotReadFarAheadOfWhatIsCollected) {
  int next = 0;
  std::atomic<int> most{0};
  std::atomic<int> finished{0};
  Pipeline::run(
      3,
      [&](int& piece) {
        most = std::max(most.load(), next - finished.load());
        piece = next;
        return next++ < 100;
      },
      [](const int& piece) { return piece; }, [&](const int&, int&) { ++finished; });
  EXPECT_LE(most, 2 * 3) << "two for each thread";
}

TEST(OrderedPipeline, ThrowsTheErrorOfTheEarliestPieceBehindAllBeforeIt) {
  for (const int threads : {1, 4}) {
    int next = 0;
    int done = 0;
    try {
      Pipeline::run(
          threads, numbers(100, next),
          [](const int& piece) {
            if (piece == 20) std::this_thread::sleep_for(std::chrono::milliseconds(3));
            if (piece >= 20) throw std::runtime_error(std::to_string(piece));
            return piece;
          },
          [&](const int&, int&) { ++done; });
      ADD_FAILURE();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "20");
    }
    EXPECT_EQ(done, 20);
    done = next = 0;
    const auto broken_off = [&](int& piece) {
      piece = next++;
      if (piece == 9) throw std::runtime_error("cut off");
      return true;
    };
    EXPECT_THROW(Pipeline::run(
                     threads, broken_off, [](const int& piece) { return piece; },
                     [&](const int&, int&) { ++done; }),
                 std::runtime_error);
    EXPECT_EQ(done, 9);
    next = 0;
    EXPECT_THROW(Pipeline::run(
                     threads, numbers(100, next), [](const int& piece) { return piece; },
                     [](const int& piece, int&) {
                       if (piece == 5) throw std::runtime_error("full");
                     }),
                 std::runtime_error);
  }
}

}  // namespace
}  // namespace evomoe
