#pragma once

#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/checkpoint/checkpoint.h"
#include "evomoe/checkpoint/run_lock.h"

namespace evomoe {

/// Which checkpoints are written and kept; fairseq's flags of the same names and defaults.
struct CheckpointPolicy {
  int64_t keep_interval_updates = -1;  ///< newest checkpoint_{epoch}_{updates} to keep; <= 0: all
  int64_t keep_last_epochs = -1;       ///< newest checkpoint{epoch} to keep; <= 0: all
  int64_t keep_best_checkpoints =
      -1;  ///< checkpoint.best_{metric}_{value} to keep; <= 0: none is written
  std::string best_metric = "loss";  ///< --best-checkpoint-metric
  bool maximize_best = false;        ///< --maximize-best-checkpoint-metric
  bool symlink = false;       ///< further names are relative symlinks, not hard-linked copies
  bool asynchronous = false;  ///< --write-checkpoints-asynchronously
  bool no_save = false;
  bool no_epoch_checkpoints = false;
  bool no_last_checkpoints = false;
  bool no_best_checkpoints = false;
  bool no_save_optimizer_state = false;
  bool no_save_optimizer_state_on_training_finished = false;

  /// Throws UsageError when best_metric cannot be part of a file name.
  void validate() const;
};

/// What the trainer knows when it asks for a checkpoint.
struct SaveRequest {
  int64_t epoch = 1;          ///< from 1
  int64_t updates = 0;        ///< completed updates
  bool end_of_epoch = false;  ///< also asks for checkpoint{epoch}
  bool interval = false;  ///< due by --save-interval-updates: asks for checkpoint_{epoch}_{updates}
  bool last = false;      ///< the run ends with it: written at once, also with `asynchronous`
  bool training_finished = false;  ///< and no update is left to be made
  std::optional<double> metric;    ///< value of best_metric when there was a validation
};

/// The checkpoints of one run folder. Holds a lock on it, so that a second process cannot write
/// there.
///
/// Names are fairseq's without .pt: checkpoint{epoch}, checkpoint_{epoch}_{updates},
/// checkpoint_best, checkpoint.best_{metric}_{value:.2f}, checkpoint_last. One of those that apply
/// is really written, the others point to it. A metric as good as the best so far counts as best;
/// NaN never does.
class CheckpointManager {
 public:
  /// Makes and locks the folder and removes what a crashed writer left. Throws Error when the
  /// folder cannot be written or another process has it. With policy.no_save nothing is touched.
  ///
  /// `ranks`: those that write each checkpoint together, each its part, with a manager of its own
  /// and the same calls; the folder, its lock and the names are the business of rank 0. Nobody else
  /// may use this communicator.
  CheckpointManager(std::filesystem::path save_dir, CheckpointPolicy policy,
                    std::shared_ptr<Communicator> ranks = std::make_shared<SelfCommunicator>());
  /// Waits for the checkpoint in flight; an error that nobody asked for by finish() goes to the
  /// log.
  ~CheckpointManager();
  CheckpointManager(const CheckpointManager&) = delete;
  CheckpointManager& operator=(const CheckpointManager&) = delete;

  /// Writes a checkpoint under the names that apply, then deletes the oldest ones by the keep rules
  /// (by when they were written, so that those of an earlier run go first whatever their numbers;
  /// never the one just written nor one that a link points to). Asynchronous: waits for the
  /// previous one and throws its error, then returns; in the background the tensors are copied and
  /// the copies written. Until wait_for_copy() has returned they may be read, but not changed. Sets
  /// the state's SaveRecord in what is written.
  void save(const SaveRequest& request, const Checkpoint& checkpoint);

  /// Whether save() writes at all (--no-save).
  bool saves() const { return !policy_.no_save; }

  /// Waits until the tensors of the checkpoint in flight may change.
  void wait_for_copy();

  /// Waits for the checkpoint in flight and throws its error.
  void finish();

  /// Takes the best value so far from a loaded checkpoint, so that a resumed run does not take its
  /// first validation for the best. Ignored when that run followed another metric.
  void restore(const RunState& state);

  /// Best value of best_metric so far.
  std::optional<double> best() const { return best_; }
  const std::filesystem::path& save_dir() const { return save_dir_; }

 private:
  bool is_at_least_as_good(double value, double than) const;
  std::string best_name(double value) const;
  std::vector<std::pair<double, std::string>> best_checkpoints() const;
  bool belongs_to_best(double value) const;
  std::vector<std::string> names_for(const SaveRequest& request, bool is_best) const;
  void write(const std::vector<std::string>& names, const Checkpoint& checkpoint) const;
  void write_in_background(std::vector<std::string> names, Checkpoint content);
  void copy_and_write(const std::vector<std::string>& names, Checkpoint content, Checkpoint copies,
                      std::promise<void> copied) const;
  void prune(const std::string& written) const;

  std::filesystem::path save_dir_;
  CheckpointPolicy policy_;
  std::shared_ptr<Communicator> ranks_;
  std::optional<RunLock> lock_;
  std::optional<double> best_;
  std::future<void> in_flight_;
  std::future<void> copied_;  ///< ready when the copies of the checkpoint in flight are made
};

}  // namespace evomoe
