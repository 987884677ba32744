#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "evomoe/parallel/process_group.h"
#include "tests/testing/paths.h"

/// Skips the test where the program is built for one process.
#define EVOMOE_NEEDS_RANKS() \
  if (!::evomoe::has_process_groups()) GTEST_SKIP() << "this build has no Gloo (libgloo-dev)"

namespace evomoe::testing {

/// Runs `work(communicator)` on `size` ranks at the same time, each a thread of this process, and
/// returns what they return, in their order. When one fails the others end with an error within
/// some seconds; the first rank's error is thrown.
template <typename Work>
auto on_ranks(int size, const Work& work) {
  using Result = std::invoke_result_t<Work, std::shared_ptr<Communicator>>;
  const TemporaryFolder folder;
  // Of those that are done: one that left at once would end those that still connect.
  std::vector<std::shared_ptr<Communicator>> done(static_cast<size_t>(size));
  std::vector<std::future<Result>> ranks;
  for (int rank = 0; rank < size; ++rank) {
    ranks.push_back(std::async(std::launch::async, [&, rank] {
      const RankPlace place{.rank = rank,
                            .size = size,
                            .local_rank = rank,
                            .local_size = size,
                            .init_method = "file://" + (folder / "ranks").string()};
      const auto communicator = join_ranks(place, {}, std::chrono::seconds(20));
      if constexpr (std::is_void_v<Result>) {
        work(communicator);
        done[static_cast<size_t>(rank)] = communicator;
      } else {
        auto result = work(communicator);
        done[static_cast<size_t>(rank)] = communicator;
        return result;
      }
    }));
  }
  for (auto& rank : ranks) rank.wait();
  if constexpr (std::is_void_v<Result>) {
    for (auto& rank : ranks) rank.get();
  } else {
    std::vector<Result> results;
    for (auto& rank : ranks) results.push_back(rank.get());
    return results;
  }
}

}  // namespace evomoe::testing
