#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace evomoe {

/// log.jsonl of a run folder: one JSON object a line, each with a "tag" (train_inner, valid, train, stage ...) and "num_updates", the
/// completed updates when it was written. Each line reaches the file at once.
class RunLog {
 public:
  /// Opens or makes the file. When resuming at `resume_update`, lines of later updates are dropped, so that a resumed run holds no
  /// line twice; 0 or nothing keeps all or starts anew (see `fresh`). A last line cut off by a crash is dropped in any case.
  /// Error when a line that is not the last one is not a JSON object, or the folder cannot be written.
  static RunLog resume(const std::filesystem::path& path, int64_t resume_update);
  static RunLog fresh(const std::filesystem::path& path);
  ~RunLog();
  RunLog(RunLog&& other) noexcept;
  RunLog& operator=(RunLog&& other) noexcept;

  /// Appends {"tag": tag, "num_updates": update, ...record} and flushes. Error naming path and reason when it cannot be written.
  void append(const std::string& tag, int64_t update, const nlohmann::ordered_json& record);

  const std::filesystem::path& path() const { return path_; }

 private:
  RunLog(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// All complete lines of a log.jsonl; a cut last line is left out.
std::vector<nlohmann::ordered_json> read_run_log(const std::filesystem::path& path);

/// A value of a log line as a number: the reference prints most numbers as strings. Nothing when the key is missing or no number.
std::optional<double> log_number(const nlohmann::ordered_json& line, const std::string& key);

}  // namespace evomoe
