#pragma once

#include <cstdint>

/// The memory of this process that is really there, in bytes, as the system counts it. Error where
/// the system does not tell (no /proc).
namespace evomoe {

int64_t resident_memory();

/// The most since the process began or the peak was forgotten.
int64_t peak_resident_memory();

/// The peak begins anew; where the system does not allow it, it goes on.
void forget_peak_resident_memory();

}  // namespace evomoe
