#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "evomoe/data/dataset.h"

namespace evomoe {

/// Threads that make batches ahead of their use and deliver them in order.
class BatchPrefetcher {
 public:
  /// `make(place)` is called once for each place in [first, end), from any thread; at most `ahead`
  /// batches wait at a time.
  BatchPrefetcher(std::function<Batch(int64_t)> make, int64_t first, int64_t end, int threads,
                  int64_t ahead);
  /// Stops the threads; batches under way are thrown away.
  ~BatchPrefetcher();

  /// The next batch; waits for it. Throws what `make` threw for it. Must not be called more often
  /// than there are places.
  Batch next();

 private:
  struct Made {
    Batch batch;
    std::exception_ptr error;
  };
  void run();

  std::function<Batch(int64_t)> make_;
  int64_t to_make_;
  int64_t to_deliver_;
  int64_t end_;
  int64_t ahead_;
  bool stop_ = false;
  std::map<int64_t, Made> made_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::jthread> threads_;
};

}  // namespace evomoe
