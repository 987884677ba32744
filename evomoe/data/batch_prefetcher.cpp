#include "evomoe/data/batch_prefetcher.h"

#include <algorithm>

#include "evomoe/base/error.h"

namespace evomoe {

BatchPrefetcher::BatchPrefetcher(std::function<Batch(int64_t)> make, int64_t first, int64_t end,
                                 int threads, int64_t ahead)
    : make_(std::move(make)),
      to_make_(first),
      to_deliver_(first),
      end_(end),
      ahead_(std::max<int64_t>(ahead, threads)) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

BatchPrefetcher::~BatchPrefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  threads_.clear();  // joins
}

void BatchPrefetcher::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock,
                  [&] { return stop_ || to_make_ >= end_ || to_make_ < to_deliver_ + ahead_; });
    if (stop_ || to_make_ >= end_) return;
    const int64_t place = to_make_++;
    lock.unlock();
    Made made;
    try {
      made.batch = make_(place);
    } catch (...) {
      made.error = std::current_exception();
    }
    lock.lock();
    made_.emplace(place, std::move(made));
    changed_.notify_all();
  }
}

Batch BatchPrefetcher::next() {
  std::unique_lock lock(mutex_);
  EVOMOE_CHECK(to_deliver_ < end_, "all {} batches of the epoch have been delivered", end_);
  changed_.wait(lock, [&] { return made_.contains(to_deliver_); });
  auto made = std::move(made_.extract(to_deliver_).mapped());
  ++to_deliver_;
  lock.unlock();
  changed_.notify_all();
  if (made.error) std::rethrow_exception(made.error);
  return std::move(made.batch);
}

}  // namespace evomoe
