#pragma once

#include <optional>

/// How much of the machine's processors this process and others get. Nothing where the system does
/// not tell (no /proc, or a kernel without scheduler statistics).
namespace evomoe {

/// Seconds that the threads of this process, added up, stood ready while others had the cores.
std::optional<double> seconds_waited_for_a_core();

/// Seconds that the machine's cores, added up, had nothing to do.
std::optional<double> seconds_cores_were_idle();

}  // namespace evomoe
