#include "evomoe/bench/process_memory.h"

#include <malloc.h>
#include <sys/resource.h>

#include "evomoe/base/log.h"
#include "evomoe/runtime/block_allocator.h"
#include "evomoe/runtime/resident_memory.h"

namespace evomoe::bench {

PeakMemory::PeakMemory() {
  kernels::release_kept_blocks();
  malloc_trim(0);
  level_ = resident_memory();
  restart();
}

void PeakMemory::restart() {
  forget_peak_resident_memory();
  constexpr int64_t kSlack = int64_t{8} << 20;
  if (peak_resident_memory() > resident_memory() + kSlack) {
    log().warn(
        "the system does not let the peak of the resident set begin anew: peak_mem_mb is an upper "
        "bound");
  }
}

double PeakMemory::peak_mib() const {
  return static_cast<double>(peak_resident_memory() - level_) / (1 << 20);
}

int64_t minor_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

}  // namespace evomoe::bench
