#include "evomoe/runtime/processor_use.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace evomoe {

std::optional<double> seconds_waited_for_a_core() {
  // Each thread's line: nanoseconds on a core, nanoseconds of waiting for one, time slices.
  std::error_code error;
  std::optional<double> nanoseconds;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::ifstream file(thread.path() / "schedstat");
    double on_a_core = 0, waiting = 0;
    if (file >> on_a_core >> waiting) nanoseconds = nanoseconds.value_or(0) + waiting;
  }
  if (error || !nanoseconds) return std::nullopt;
  return *nanoseconds * 1e-9;
}

std::optional<double> seconds_cores_were_idle() {
  // "cpu", then the ticks spent as user, nice, system, idle, ...
  std::ifstream file("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0;
  if (!(file >> cpu >> user >> nice >> system >> idle) || cpu != "cpu") return std::nullopt;
  return idle / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace evomoe
