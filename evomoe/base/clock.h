#pragma once

#include <functional>

namespace evomoe {

/// Seconds from some fixed point. A test gives its own.
using Clock = std::function<double()>;
Clock steady_clock_seconds();

}  // namespace evomoe
