#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace evomoe {

/// Reads pieces until `read` returns false, lets `work` run on them in `threads` threads, and calls
/// `done` with each piece and its result, in the order in which they were read, on the calling
/// thread. `read` never runs twice at the same time. At most a few pieces per thread are ahead of
/// `done`, so that memory stays bounded. Of several exceptions the one of the earliest piece is
/// thrown again, after the `read` and `work` that are under way have ended: one that blocks, as on
/// a pipe, delays the exception.
template <typename Piece, typename Result>
class OrderedPipeline {
 public:
  using Read = std::function<bool(Piece&)>;
  using Work = std::function<Result(const Piece&)>;
  using Done = std::function<void(const Piece&, Result&)>;

  static void run(int threads, const Read& read, const Work& work, const Done& done) {
    if (threads > 1) {
      OrderedPipeline(read, work, threads).run_threads(threads, done);
      return;
    }
    for (Piece piece; read(piece);) {
      auto result = work(piece);
      done(piece, result);
    }
  }

 private:
  struct Slot {
    Piece piece;
    Result result;
    std::exception_ptr error;
  };

  OrderedPipeline(const Read& read, const Work& work, int threads)
      : read_(read), work_(work), ahead_(2 * static_cast<int64_t>(threads)) {}

  void run_threads(int threads, const Done& done) {
    std::vector<std::jthread> pool;
    for (int i = 0; i < threads; ++i) pool.emplace_back([this] { run_worker(); });
    std::exception_ptr error;
    while (!error) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock,
                    [&] { return ready_.contains(finished_) || (ended_ && finished_ == begun_); });
      const auto found = ready_.find(finished_);
      if (found == ready_.end()) break;
      auto slot = std::move(found->second);
      ready_.erase(found);
      lock.unlock();
      error = slot.error;
      try {
        if (!error) done(slot.piece, slot.result);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      ++finished_;
      if (error) ended_ = true;
      changed_.notify_all();
    }
    pool.clear();
    if (error) std::rethrow_exception(error);
  }

  void run_worker() {
    while (true) {
      Slot slot;
      int64_t mine = 0;
      {
        const std::lock_guard reading(read_mutex_);
        {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [&] { return ended_ || begun_ < finished_ + ahead_; });
          if (ended_) return;
        }
        bool is_read = true;
        try {
          is_read = read_(slot.piece);
        } catch (...) {
          slot.error = std::current_exception();
        }
        const std::lock_guard lock(mutex_);
        if (!is_read || slot.error) {
          ended_ = true;
          changed_.notify_all();
          if (!is_read) return;
        }
        mine = begun_++;
      }
      try {
        if (!slot.error) slot.result = work_(slot.piece);
      } catch (...) {
        slot.error = std::current_exception();
      }
      const std::lock_guard lock(mutex_);
      ready_.emplace(mine, std::move(slot));
      changed_.notify_all();
    }
  }

  const Read& read_;
  const Work& work_;
  int64_t ahead_;
  std::mutex read_mutex_;
  std::mutex mutex_;  ///< of all below
  std::condition_variable changed_;
  std::map<int64_t, Slot> ready_;  ///< by the number of the piece
  int64_t begun_ = 0;
  int64_t finished_ = 0;
  bool ended_ = false;  ///< nothing more is read
};

}  // namespace evomoe
