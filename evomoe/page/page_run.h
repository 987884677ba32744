#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evomoe/page/curve_table.h"
#include "evomoe/page/load_frames.h"
#include "evomoe/page/run_settings.h"
#include "evomoe/report/comparison.h"
#include "evomoe/report/log_tail.h"
#include "evomoe/report/run_history.h"

namespace evomoe {

/// How much a page holds of each run, whatever the length of its log and the size of its model.
struct PageLimits {
  size_t points = 1000;        ///< half of the most points of a curve
  size_t load_cells = 500000;  ///< the most numbers of the heat map of loads

  /// Those of each of so many runs on one page of less than 5 MB.
  static PageLimits of_runs(size_t runs);
};

/// What the page says of a run. It reads the log line by line, and again what has been added to it.
class PageRun {
 public:
  /// `folder` as the user gave it. Error: there is no such folder, or no log in it.
  PageRun(const std::string& folder, const PageLimits& limits);

  /// Takes in what the run has written since; whether there was anything. Error: a damaged log.
  bool update();

  /// The numbers of the page's curves, pictures and tables.
  nlohmann::ordered_json json() const;
  /// What the figures say, in sentences.
  std::vector<std::string> sentences() const;
  /// For a comparison by the perplexity of `subset`; without validations where it has none.
  ComparedRun compared(const std::string& subset) const;

  const std::filesystem::path& folder() const { return history_.folder; }
  const std::string& name() const { return history_.name; }
  RunHistory& history() { return history_; }
  const RunSettings& settings() const { return settings_; }
  bool cut() const { return tail_.cut(); }
  /// Has it logged an update or a validation yet?
  bool has_points() const { return training_.rows() > 0 || !validations_.empty(); }
  std::vector<std::string> subsets() const;  ///< that it was validated on

 private:
  struct Validations {
    CurveTable curves;
    std::vector<ValidationPoint> points;  ///< those with a perplexity
  };

  void clear();
  void take(const nlohmann::ordered_json& line);
  void take_training(const TrainingPoint& point, const nlohmann::ordered_json& line);
  void take_similarity(const nlohmann::ordered_json& line);
  void take_validation(const std::string& subset, const nlohmann::ordered_json& line);
  std::string router_sentence() const;
  std::string perplexity_sentence(const std::string& subset,
                                  const std::vector<ValidationPoint>& points) const;

  PageLimits limits_;
  RunHistory history_;  ///< without lines
  RunSettings settings_;
  LogTail tail_;

  TrainingPoints points_;
  CurveTable training_;
  std::map<std::string, Validations> validations_;  ///< by subset
  std::vector<StageMark> stages_;
  LoadFrames loads_;
  CurveTable similarity_;
  TrainingPoint first_, last_;
  nlohmann::ordered_json last_routers_, profile_, memory_plan_, memory_peak_, threads_;
  nlohmann::ordered_json similarity_lines_;  ///< the first and the last
};

}  // namespace evomoe
