#include "evomoe/base/clock.h"

#include <chrono>

namespace evomoe {

Clock steady_clock_seconds() {
  return [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
  };
}

}  // namespace evomoe
