#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

namespace evomoe {

/// Reads a log.jsonl while a run writes it, one line after the other: a log of any size is never in
/// memory as a whole.
class LogTail {
 public:
  explicit LogTail(std::filesystem::path path) : path_(std::move(path)) {}

  /// Gives all complete lines since the last call to `take`, in order. When the file is no longer
  /// the one that was read (a run that goes on from a checkpoint writes it anew), `restart` is
  /// called first, and then all of its lines follow. A file that is not there has no lines. Returns
  /// whether anything was given. Error naming file and line where a line is damaged.
  bool read(const std::function<void(const nlohmann::ordered_json&)>& take,
            const std::function<void()>& restart);

  /// Behind the lines read there was one that is not complete: the run is writing it, or was
  /// killed.
  bool cut() const { return cut_; }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  uint64_t device_ = 0, inode_ = 0;
  int64_t offset_ = 0;  ///< of the first line that was not read
  int64_t lines_ = 0;
  bool cut_ = false;
};

}  // namespace evomoe
