#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

/// What the log.jsonl of a run tells, as numbers: for comparisons and pictures.
namespace evomoe {

/// A run folder and the lines of its log.
struct RunHistory {
  std::filesystem::path folder;  ///< absolute, without a slash at the end
  std::string name;              ///< of the folder, or its path where several have this name
  std::vector<nlohmann::ordered_json> lines;
  bool cut = false;  ///< the log ends in a half-written line, which is left out

  std::filesystem::path log() const { return folder / "log.jsonl"; }
};

/// A run folder without the lines of its log. Errors: a folder that is not there or has no log.
RunHistory find_run(const std::string& folder);
/// The same with the lines.
RunHistory read_run_history(const std::string& folder);

/// Tells runs of the same name apart by their paths, `folders` as the user gave them. The same
/// folder twice is a UsageError that begins with `command`.
void name_apart(std::vector<RunHistory*> runs, const std::vector<std::string>& folders,
                const std::string& command);

/// Says that a log ends in a half-written line.
void warn_of_cut_log(const std::filesystem::path& path);

/// Each of the folders; runs of the same name are told apart by their paths. The same folder twice
/// is a UsageError that begins with `command`. Warns of a log that ends in a half-written line.
std::vector<RunHistory> read_run_histories(const std::vector<std::string>& folders,
                                           const std::string& command);

/// How far a run was when a line was written; NaN: not known.
struct RunPlace {
  int64_t updates = 0;
  double seconds = 0, tokens = 0, flops = 0;  ///< of training, resumed runs included
};

/// A line of training (tag train_inner). What a run or an older log does not have is empty.
struct TrainingPoint : RunPlace {
  std::optional<double> loss;  ///< bits, without losses of the gate and label smoothing
  std::optional<double> temperature;
  std::optional<double> active_experts;  ///< per token, mean over layers
  std::optional<double> max_violation;   ///< largest over layers
  std::optional<double> dead_experts;    ///< sum over layers
  std::optional<double> ms_per_update;
  std::optional<double> flops_per_update;
};

struct ValidationPoint : RunPlace {
  double perplexity = 0;  ///< NaN: the run has diverged
};

/// A stage of the evolution and the update that it begins with.
struct StageMark {
  int64_t update = 0;
  std::string name;
};

std::vector<TrainingPoint> training_points(const RunHistory& run);

/// Makes these points of the lines of a log, given one after the other.
class TrainingPoints {
 public:
  /// Nothing for a line of something else.
  std::optional<TrainingPoint> read(const nlohmann::ordered_json& line);

 private:
  double tokens_ = 0, flops_ = 0;  ///< of logs whose lines do not have them
  int64_t updates_ = 0;
};

/// The tag of a line; empty: it has none.
std::string log_tag(const nlohmann::ordered_json& line);
/// The count of completed updates of a line; 0: it has none.
int64_t log_updates(const nlohmann::ordered_json& line);
/// The stage that begins with a line; nothing for a line of something else.
std::optional<StageMark> stage_mark(const nlohmann::ordered_json& line);

/// The validations of a subset. Error: a line that lacks a number, or no such line (it names the
/// other subsets).
std::vector<ValidationPoint> validation_points(const RunHistory& run, const std::string& subset);

/// The tags of lines with a perplexity.
std::vector<std::string> validated_subsets(const RunHistory& run);

std::vector<StageMark> stage_marks(const RunHistory& run);

}  // namespace evomoe
