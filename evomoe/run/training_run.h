#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/checkpoint/run_lock.h"
#include "evomoe/page/live_server.h"
#include "evomoe/parallel/rank_groups.h"
#include "evomoe/parallel/rank_place.h"
#include "evomoe/run/memory_planner.h"
#include "evomoe/run/patience.h"
#include "evomoe/run/profile.h"
#include "evomoe/run/ranks.h"
#include "evomoe/run/run_data.h"
#include "evomoe/run/run_reporter.h"
#include "evomoe/run/run_totals.h"
#include "evomoe/run/validator.h"
#include "evomoe/runtime/compute_threads.h"
#include "evomoe/train/options.h"
#include "evomoe/train/trainer.h"

namespace evomoe {

/// A whole run of `evomoe train`: epochs of updates, validation, checkpoints, stopping, resuming.
/// docs/reference.md section 8.4.
class TrainingRun {
 public:
  /// Opens data, model, run folder and the checkpoint to go on from. Everything that can be refused
  /// is refused here.
  /// `place`: of this process among those of the run; rank 0 alone writes log and checkpoints.
  explicit TrainingRun(const TrainOptions& options, const RankPlace& place = {});
  ~TrainingRun();

  /// Trains to the end, which is saved. Returns 0, or 128 + signal when stopped by one after
  /// writing a checkpoint. An Error leaves a checkpoint of the last update as well, unless the
  /// model diverged.
  int run();

 private:
  enum class Stop { kNo, kLimit, kPatience, kSignal };

  /// Serves the page of --live from now on.
  void open_live_page();
  /// Makes the trainer and takes over what goes on of an earlier run.
  void begin(RankGroups ranks);
  /// Writes the run folder, as rank 0, and opens its log; nothing where this rank has none.
  std::optional<RunLog> open_folder(bool log_goes_on) const;
  /// The folder of --tensorboard-logdir, which no other run may use meanwhile; nothing: none is
  /// given, or this is not rank 0.
  std::optional<EventBoard> open_board(bool log_goes_on);

  /// All epochs.
  Stop train();
  /// The updates of one epoch, from where its batches stand.
  Stop train_epoch();
  /// One update from the next micro-batches, for which it waits.
  UpdateResult next_update();
  Stop validate_and_save(bool end_of_epoch);
  /// The metric that decides about the best checkpoint, of the first pass; nothing when a signal
  /// came, or when that pass has no target.
  std::optional<double> validate();
  /// `metric` gets the one that decides; null: this pass does not. False when a signal came.
  bool validate_pass(const std::string& subset, const ValidationPass& pass,
                     std::optional<double>* metric);

  /// What has come from outside until now, agreed on by all ranks, and what follows for the
  /// schedule of a budget.
  void look_outside();
  /// What the run has taken until now, the same on all ranks.
  Spent spent() const;
  bool reached_limit() const;
  /// Has the learning rate of an epoch that would begin now come down to --stop-min-lr?
  bool lr_came_down(int64_t epoch) const;
  /// Does the run end with this epoch, which has no more updates?
  bool is_last(int64_t epoch) const;

  void save(bool end_of_epoch, bool interval, std::optional<double> metric, bool last = false);
  /// Keeps what was trained since the last checkpoint when something else than the model broke.
  void save_after_error();
  RunState state() const;

  TrainOptions options_;
  std::optional<std::string> rank_log_;  ///< of a rank but 0, with --log-all-ranks
  torch::Device device_;
  ComputeThreads threads_;
  RunData data_;
  std::optional<Validator> validator_;
  std::optional<MemoryPlanner> memory_;
  std::unique_ptr<CheckpointManager> checkpoints_;
  std::unique_ptr<RunLock> board_lock_;
  std::unique_ptr<Trainer> trainer_;
  RunTotals totals_;
  Patience patience_;
  std::optional<RunReporter> reporter_;
  std::unique_ptr<Profile> profile_;
  std::unique_ptr<LiveServer> live_;

  Interruption interruption_;
  int64_t epoch_ = 1;
  int64_t offset_ = 0;         ///< batches of the epoch that are done, by all ranks
  int64_t first_update_ = 0;   ///< completed updates when this process began
  int64_t saved_updates_ = 0;  ///< completed updates of the last checkpoint
};

}  // namespace evomoe
