#include "evomoe/runtime/processor_use.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace evomoe {
namespace {

TEST(ProcessorUse, MoreThreadsThanCoresWaitForOne) {
  const auto before = seconds_waited_for_a_core();
  if (!before) GTEST_SKIP() << "this kernel keeps no scheduler statistics";
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  // 0: the number of cores is not known.
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < 3 * cores; ++i)
    threads.emplace_back([&] {
      while (!stop) {
      }
    });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto during = seconds_waited_for_a_core();
  stop = true;
  for (auto& thread : threads) thread.join();
  ASSERT_TRUE(during);
  EXPECT_GT(*during - *before, 0.1);
}

TEST(ProcessorUse, IdleSecondsNeverDecrease) {
  const auto before = seconds_cores_were_idle();
  if (!before) GTEST_SKIP() << "there is no /proc/stat";
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto after = seconds_cores_were_idle();
  ASSERT_TRUE(after);
  EXPECT_GE(*after, *before);
}

}  // namespace
}  // namespace evomoe
