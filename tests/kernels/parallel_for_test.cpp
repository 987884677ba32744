#include "evomoe/kernels/parallel_for.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace evomoe::kernels {
namespace {

/// LibTorch's thread count within a scope.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }

 private:
  int before_;
};

TEST(ParallelFor, VisitsEveryElementOnce) {
  for (const int threads : {1, 2, 3}) {
    const Threads scope(threads);
    for (const int64_t size : {0, 1, 2, 7, 100}) {
      for (const int64_t grain : {0, 1, 3, 1000}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(size));
        parallel_for(0, size, grain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        });
        for (const auto& count : visits) EXPECT_EQ(count, 1);
      }
    }
  }
}

TEST(ParallelFor, RunsOnAsManyThreadsAsLibTorchHas) {
  const Threads scope(2);
  std::set<std::thread::id> seen;
  std::mutex mutex;
  parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    EXPECT_TRUE(at::in_parallel_region());
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(seen.size(), 2U);
}

TEST(ParallelFor, ANestedLoopStaysOnItsThread) {
  const Threads scope(2);
  parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    const auto outer = std::this_thread::get_id();
    parallel_for(0, 10, 1, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(std::this_thread::get_id(), outer);
      EXPECT_EQ(end - begin, 10);
    });
  });
}

TEST(ParallelFor, AnErrorOfAnyThreadReachesTheCaller) {
  const Threads scope(2);
  const auto failing = [](int64_t begin, int64_t) {
    if (begin > 0) throw std::runtime_error("part " + std::to_string(begin));
  };
  EXPECT_THROW(parallel_for(0, 8, 1, failing), std::runtime_error);
}

}  // namespace
}  // namespace evomoe::kernels
