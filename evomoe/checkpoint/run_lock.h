#pragma once

#include <filesystem>
#include <string_view>

namespace evomoe {

/// A lock on a run folder (flock on the file `.lock` in it), held until the end of its life or of
/// the process, however it ends.
class RunLock {
 public:
  /// Makes the folder when it is missing. Throws Error when it cannot be written, or "run folder
  /// ... is in use by process N". `option` is the one that names the folder.
  explicit RunLock(const std::filesystem::path& folder, std::string_view option = "--save-dir");
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace evomoe
