#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "evomoe/checkpoint/xxhash64.h"

/// Files and folder entries that survive a crash at any moment. All errors name the path and the
/// system's reason.
namespace evomoe {

/// Writes a file from its beginning to its end, with a running checksum. Unless close() was
/// reached, the file is removed. Where the file system can, the bytes pass by the page cache
/// (O_DIRECT): it would cost more of a processor than all else here, which training wants.
class DurableFile {
 public:
  explicit DurableFile(std::filesystem::path path);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  /// Large parts that begin with a page in memory and in the file go to the disk as they lie.
  void write(std::string_view bytes);
  /// Brings the content to the disk.
  void close();

  uint64_t bytes() const { return bytes_; }
  uint64_t checksum() const { return hash_.digest(); }

 private:
  struct Free {
    void operator()(char* memory) const;
  };

  void write_buffer();
  void write_out(const char* data, size_t bytes);

  std::filesystem::path path_;
  int descriptor_ = -1;
  bool direct_ = false;
  std::unique_ptr<char, Free> buffer_;  ///< what is not handed to the system yet
  size_t filled_ = 0;
  uint64_t bytes_ = 0;
  XxHash64 hash_;
};

/// What direct writing starts at and takes multiples of, in memory and in the file.
constexpr size_t kFilePage = 4096;

/// Brings the entries of a folder (names made, renamed, removed) to the disk.
void sync_folder(const std::filesystem::path& folder);

/// The name beside `path` under which its next content is prepared, or its old content waits for
/// deletion.
std::filesystem::path temporary_name(const std::filesystem::path& path);

/// The name beside `path` that holds its old content in the middle of a replacement on file systems
/// that cannot exchange two names.
std::filesystem::path backup_name(const std::filesystem::path& path);

/// Removes what a crashed writer left of `path`: its temporary; its backup too, unless that is all
/// there is, which is put back.
void recover_entry(const std::filesystem::path& path);

/// recover_entry for every name in the folder.
void recover_folder(const std::filesystem::path& folder);

/// Moves temporary_name(path), a file, link or folder, to `path` in the place of whatever is there,
/// and deletes that. At each moment the old or the new one has the name (or can be recovered).
void replace_by_temporary(const std::filesystem::path& path);

/// Removes a file, link or folder such that a crash never leaves half of it under its name.
void remove_entry(const std::filesystem::path& path);

}  // namespace evomoe
