#pragma once

#include <cstdint>

namespace evomoe::bench {

/// The peak of the resident set above its level at construction, in MiB. Freed memory is given back
/// to the system first, so that what came before does not hide what is measured.
class PeakMemory {
 public:
  PeakMemory();
  /// Forgets the peak so far (not the level).
  void restart();
  double peak_mib() const;

 private:
  int64_t level_;
};

/// Page faults of this process so far that needed no disk: each is a page of memory that was mapped
/// anew.
int64_t minor_faults();

}  // namespace evomoe::bench
