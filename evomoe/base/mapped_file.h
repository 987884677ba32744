#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace evomoe {

/// A whole file, memory-mapped for reading. It may be larger than memory. An Error names a file
/// that cannot be opened.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {data_, static_cast<size_t>(size_)}; }
  /// The same bytes, to be changed in this process's memory alone: the file stays as it is.
  char* own_bytes();
  const std::filesystem::path& path() const { return path_; }
  /// Tells the kernel that the pages need not stay in memory.
  void forget_pages() const;
  /// A reader that goes through a file once calls forget_pages() after this many bytes.
  static constexpr int64_t kKeptBytes = 64 << 20;

 private:
  std::filesystem::path path_;
  const char* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace evomoe
