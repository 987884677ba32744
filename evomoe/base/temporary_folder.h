#pragma once

#include <filesystem>
#include <string>

namespace evomoe {

/// A fresh folder in `parent` (empty: the system's folder for such), removed with its content at
/// the end of the scope. When it cannot be made, an Error that ends with `remedy`.
class TemporaryFolder {
 public:
  TemporaryFolder(const std::string& parent, const std::string& remedy);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace evomoe
