#pragma once

#include <filesystem>
#include <string>

namespace evomoe::bench {

/// A fresh folder in `parent` (empty: the system's folder for such), removed with its content at
/// the end of the scope. Error when it cannot be made.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& parent);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace evomoe::bench
