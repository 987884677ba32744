#include "evomoe/runtime/resident_memory.h"

#include <fstream>
#include <string>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

int64_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stoll(line.substr(name.size() + 1)) * 1024;
  }
  fail("/proc/self/status has no {}: memory cannot be measured on this system", name);
}

}  // namespace

int64_t resident_memory() { return status_bytes("VmRSS"); }

int64_t peak_resident_memory() { return status_bytes("VmHWM"); }

void forget_peak_resident_memory() { std::ofstream("/proc/self/clear_refs") << "5" << std::flush; }

}  // namespace evomoe
