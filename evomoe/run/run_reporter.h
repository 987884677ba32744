#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/data/epoch_iterator.h"
#include "evomoe/report/event_board.h"
#include "evomoe/report/meters.h"
#include "evomoe/report/progress_line.h"
#include "evomoe/report/run_log.h"
#include "evomoe/report/time_summary.h"
#include "evomoe/run/router_watch.h"
#include "evomoe/run/run_totals.h"
#include "evomoe/runtime/thread_choice.h"
#include "evomoe/train/options.h"
#include "evomoe/train/trainer.h"

namespace evomoe {

/// What a run says while it trains: log lines on stdout, in log.jsonl and for TensorBoard, the live
/// line, stages of the evolution, routers that collapse.
class RunReporter {
 public:
  /// All but `log` (nothing with --no-save) and `board` must outlive it. `batches`: of training;
  /// their epoch and offset are those of the lines.
  RunReporter(const TrainOptions& options, const Trainer& trainer, EpochIterator& batches,
              const RunTotals& totals, std::optional<RunLog> log, std::optional<EventBoard> board);

  /// The meters of "train" (an epoch) and "train_inner" (a log interval).
  Metrics& metrics() { return metrics_; }
  const Metrics& metrics() const { return metrics_; }
  /// Null with --no-save.
  RunLog* log_file() { return log_ ? &*log_ : nullptr; }

  /// An update that took `seconds`, the wait for its data included. `totals` has it already.
  void update(const UpdateResult& result, double seconds);
  /// The line of an epoch, or what a signal left of it.
  void epoch();
  /// A line of a validation; `line` gets what the run took until now.
  void validation(const std::string& tag, LogLine line);
  /// How alike the experts of each layer are. All ranks call it. `when`: "spawn" or "validation".
  void expert_similarity(const std::string& when);
  void threads(const ThreadChoice::Change& change);
  /// `trace`: the file of the same updates; empty: there is none.
  void profile(const TimeSummary& summary, const std::string& trace);
  /// Takes the live line away, e.g. before a message; the next update brings it back.
  void clear_line() { progress_.clear(); }

 private:
  void announce_stage(const UpdateResult& result);
  void announce_growth(const UpdateResult& result);
  void write_interval(const UpdateResult& result);
  void show_progress(const UpdateResult& result);
  void emit(const std::string& tag, const LogLine& line, const std::string& prefix = "",
            const std::vector<LayerLoad>& loads = {});

  const TrainOptions& options_;
  const Trainer& trainer_;
  EpochIterator& batches_;
  const RunTotals& totals_;
  std::optional<RunLog> log_;
  std::optional<EventBoard> board_;
  Metrics metrics_;
  ProgressLine progress_;
  RouterWatch watch_;
  int64_t first_update_;    ///< completed updates when this process began
  std::string last_stage_;  ///< empty: no stage of an evolution

  /// Since the last log line.
  struct Interval {
    double flops = 0, tokens = 0, seconds = 0, updates = 0;
  };
  Interval interval_;
  /// What the live line shows, smoothed.
  double shown_loss_ = 0, shown_speed_ = 0, last_update_at_ = 0;
};

}  // namespace evomoe
