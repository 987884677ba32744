#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "evomoe/runtime/thread_choice.h"

namespace evomoe {

/// LibTorch's threads where --threads does not fix their number: chosen by measurement while the
/// work goes on, as other programs come and go (ThreadChoice).
class ComputeThreads {
 public:
  using Tell = std::function<void(const ThreadChoice::Change&)>;

  /// `threads`: the option. Where it or OMP_NUM_THREADS gives a number, nothing is chosen. Changes
  /// are told to `tell`, or else logged.
  explicit ComputeThreads(int64_t threads, Tell tell = {});

  /// Around each piece of work (an update, a batch); `work` in any unit that its time is
  /// proportional to.
  void begin();
  void end(double work);
  /// Before work that is not measured.
  void stop_trial();

 private:
  std::optional<ThreadChoice> choice_;
  Tell tell_;
};

/// A change as a line for the log.
std::string thread_words(const ThreadChoice::Change& change);

}  // namespace evomoe
