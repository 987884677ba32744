#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

namespace evomoe {

/// What the live line shows.
struct Progress {
  std::string label;        ///< e.g. the run's name
  int64_t update = 0;       ///< completed updates
  int64_t last_update = 0;  ///< the update the run ends with; 0: unknown
  double loss = 0;          ///< bits per token, as in log lines
  double tokens_per_second = 0;
  std::optional<double> temperature;  ///< of the dense-to-sparse gate
  std::optional<double> active_experts_per_token;
  std::string stage;           ///< of an evolution; empty: none
  double elapsed_seconds = 0;  ///< since the run, or its continuation, began
  int64_t first_update = 0;    ///< completed updates when it began
};

/// One line of text without an end, at most `width` columns wide and never wider than 100: a long
/// label, and then what is least important, is left out first.
std::string progress_text(const Progress& progress, int width);

/// 75 -> "1:15", 4000 -> "1:06:40", 200000 -> "2 d 07:33"
std::string duration_text(double seconds);

/// Rewrites one line on a terminal. Does nothing when `stream` is not a terminal, so logs stay
/// clean.
class ProgressLine {
 public:
  /// `enabled` false silences it even on a terminal.
  explicit ProgressLine(bool enabled = true, std::FILE* stream = stderr);
  ~ProgressLine();  ///< clears the line
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  bool live() const { return live_; }
  void show(const Progress& progress);
  /// Takes the line away, e.g. before a log message; the next show() brings it back.
  void clear();

 private:
  std::FILE* stream_;
  bool live_;
  bool shown_ = false;
};

}  // namespace evomoe
