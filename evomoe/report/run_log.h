#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace evomoe {

/// log.jsonl of a run folder: one JSON object a line, each with a "tag" (train_inner, valid, train,
/// stage ...) and "completed_updates", the count when it was written. Each line reaches the file at
/// once.
class RunLog {
 public:
  /// Starts an empty file. Error when it cannot be written.
  static RunLog fresh(const std::filesystem::path& path);
  /// Goes on with the file of a run that continues after `resume_update` updates: lines of later
  /// updates are dropped, and a line that the run writes again at `resume_update` itself is not
  /// written twice, so that the log is that of an uninterrupted run. A last line that a crash cut
  /// off is dropped. A missing file is made. Error when any other line is not a JSON object.
  static RunLog resume(const std::filesystem::path& path, int64_t resume_update);
  ~RunLog();
  RunLog(RunLog&& other) noexcept;
  RunLog& operator=(RunLog&& other) noexcept;

  /// Appends {"tag": tag, "completed_updates": update, ...record} and flushes. False: the file held
  /// the line already. Error naming path and reason when it cannot be written.
  bool append(const std::string& tag, int64_t update, const nlohmann::ordered_json& record);

  const std::filesystem::path& path() const { return path_; }

 private:
  RunLog(std::filesystem::path path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t resume_update_ = -1;
  std::set<std::string> written_;  // tags of the lines at resume_update_ that the file held already
};

/// All complete lines of a log.jsonl; a cut last line is left out, which sets `cut`.
std::vector<nlohmann::ordered_json> read_run_log(const std::filesystem::path& path,
                                                 bool* cut = nullptr);

/// The line that `text` is; nothing when it is no JSON object, e.g. cut off. `place` (file and
/// line) is for the Error when its tag or its update has a wrong type.
std::optional<nlohmann::ordered_json> parse_log_line(const std::string& text,
                                                     const std::string& place);

/// The Error of a line that is broken though others follow it: a crash can only cut the last one.
[[noreturn]] void fail_damaged_log(const std::string& place);

/// A value of a log line as a number: the reference's lines, and logs of before numbers were
/// numbers, have strings. Nothing when the key is missing or no number.
std::optional<double> log_number(const nlohmann::ordered_json& line, const std::string& key);

}  // namespace evomoe
