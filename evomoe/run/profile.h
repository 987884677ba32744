#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "evomoe/report/time_summary.h"
#include "evomoe/train/options.h"

namespace evomoe {

/// Measures some updates of a run (--profile). Parts are the scopes that the code opens with
/// RECORD_USER_SCOPE, which cost next to nothing while nobody listens; LibTorch's profiler writes
/// the trace. Nothing that is computed changes.
///
///   profile.before_update(); { RECORD_USER_SCOPE("update"); ... }
///   if (const auto summary = profile.after_update(completed)) ...
class Profile {
 public:
  /// The first updates of a process are slower (memory is mapped, threads start), so these are left
  /// out.
  static constexpr int64_t kWarmupUpdates = 3;

  /// `updates` are measured; `trace` is the Chrome trace to write (docs/profiling.md), empty: none.
  /// UsageError when it cannot be written.
  Profile(int64_t updates, std::filesystem::path trace);
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  void before_update();
  /// Where the time went, once the last of the updates is done.
  std::optional<TimeSummary> after_update(int64_t completed_updates);
  /// The same of the updates that were measured, for a run that ends before that; nothing when
  /// there are none, or all was told already.
  std::optional<TimeSummary> finish();

  const std::filesystem::path& trace() const { return trace_; }

 private:
  class Recording;

  int64_t updates_;
  std::filesystem::path trace_;
  int64_t seen_ = 0;  ///< updates, warm-up included
  int64_t last_update_ = 0;
  std::unique_ptr<Recording> recording_;
};

/// The Profile of --profile, with its trace in the run folder; null without it. UsageError where
/// the run makes too few updates (`updates_ahead`; nothing: no option says how many).
std::unique_ptr<Profile> open_profile(const TrainOptions& options,
                                      std::optional<int64_t> updates_ahead);

}  // namespace evomoe
