#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/checkpoint/checkpoint_manager.h"
#include "evomoe/data/epoch_iterator.h"
#include "evomoe/data/task_data.h"
#include "evomoe/generate/translation_bleu.h"
#include "evomoe/report/meters.h"
#include "evomoe/report/progress_line.h"
#include "evomoe/report/run_log.h"
#include "evomoe/run/memory_plan.h"
#include "evomoe/run/profile.h"
#include "evomoe/run/router_watch.h"
#include "evomoe/runtime/compute_threads.h"
#include "evomoe/text/byte_bpe.h"
#include "evomoe/train/options.h"
#include "evomoe/train/trainer.h"
#include "evomoe/train/validation.h"

namespace evomoe {

/// A whole run of `evomoe train`: epochs of updates, validation, checkpoints, logs, resuming.
/// docs/reference.md section 8.4.
class TrainingRun {
 public:
  /// Opens data, model, run folder and the checkpoint to go on from. Everything that can be refused
  /// is refused here.
  explicit TrainingRun(const TrainOptions& options);
  ~TrainingRun();

  /// Trains to the end, which is saved. Returns 0, or 128 + signal when stopped by one after
  /// writing a checkpoint. An Error leaves a checkpoint of the last update as well, unless the
  /// model diverged.
  int run();

  Trainer& trainer() { return *trainer_; }

 private:
  enum class Stop { kNo, kLimit, kPatience, kSignal };

  void open_data();
  /// Refuses a search of --eval-bleu that a validation could not make.
  void check_bleu_lengths() const;
  void open_folder();
  bool offloads_moments() const { return options_.resources.offload_moments.has_value(); }
  /// The copy that a checkpoint in the background is written from would need what offloading saves.
  bool saves_in_background() const {
    return options_.checkpoint.write_checkpoints_asynchronously && !offloads_moments();
  }
  /// Decides what is recomputed (--memory-budget).
  void plan_memory();
  /// The options with that decision.
  TrainOptions trainer_options() const;
  void log_memory_plan();
  void report_memory();
  void restore();
  void restore_from(const std::filesystem::path& path, bool finetune);
  Checkpoint fairseq_checkpoint(const std::filesystem::path& path, bool with_optimizer) const;
  void take_over(const std::filesystem::path& path, bool finetune);
  /// Makes the trainer of a new run whose model begins with the weights of another. Dense blocks
  /// become experts (starting_weights.h). `shared_expert`: the weights have one in each MoE layer.
  void begin_with(const TensorMap& weights, bool shared_expert, const std::string& what,
                  const std::string& remedy);
  void announce() const;
  void open_profile();
  /// Updates that this process makes if nothing ends it early; nothing when no option says so.
  std::optional<int64_t> updates_ahead() const;

  /// All epochs.
  Stop train();
  std::string how_to_go_on() const;
  /// Keeps what was trained since the last checkpoint when something else than the model broke.
  void save_after_error();
  /// The updates of one epoch, from where the iterator stands.
  Stop train_epoch();
  /// One update from the next micro-batches, for which it waits.
  UpdateResult next_update();
  void report_update(const UpdateResult& result);
  void report_threads(const ThreadChoice::Change& change);
  void report_profile(const TimeSummary& summary);
  void log_train_inner(const UpdateResult& result);
  void show_progress(const UpdateResult& result);
  void announce_stage(const UpdateResult& result);
  std::string stage_words(const UpdateResult& result) const;
  Stop validate_and_save(bool end_of_epoch);
  bool reached_limit() const;
  /// Has the learning rate of an epoch that would begin now come down to --stop-min-lr?
  bool lr_came_down(int64_t epoch) const;
  /// Does the run end with this epoch, which has no more updates?
  bool is_last(int64_t epoch) const;
  /// The metric that decides about the best checkpoint, of the first pass; nothing when a signal
  /// came, or when that pass has no target.
  std::optional<double> validate();
  /// `metric` gets the one that decides; null: this pass does not. False when a signal came.
  bool validate_pass(const std::string& subset, const ValidationPass& pass,
                     std::optional<double>* metric);
  bool out_of_patience(double metric);
  void save(bool end_of_epoch, bool interval, std::optional<double> metric, bool last = false);
  Checkpoint snapshot() const;
  void emit(const std::string& tag, const LogLine& line, const std::string& prefix = "");
  double elapsed() const;

  static constexpr int kWallPriority = 1000;  ///< place of "wall" in a log line

  TrainOptions options_;
  torch::Device device_;
  ComputeThreads threads_;
  std::unique_ptr<TaskData> data_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<EpochIterator> iterator_;
  std::unique_ptr<ByteBpe> bpe_;
  std::optional<TranslationBleu> bleu_;  ///< with --eval-bleu
  std::map<std::string, std::shared_ptr<const Dataset>> valid_sets_;
  std::unique_ptr<CheckpointManager> checkpoints_;
  std::optional<RunLog> log_;
  std::optional<Profile> profile_;
  Recomputation recompute_;
  std::optional<MemoryEstimate> memory_estimate_;  ///< with --memory-budget
  int64_t program_memory_ = 0;                     ///< resident before the model is made
  Metrics metrics_;
  ProgressLine progress_;

  int64_t epoch_ = 1;
  int64_t offset_ = 0;          ///< micro-batches of the epoch done
  double earlier_seconds_ = 0;  ///< of training before this process
  double started_ = 0;
  int64_t first_update_ = 0;       ///< completed updates when this process began
  int64_t saved_updates_ = 0;      ///< completed updates of the last checkpoint
  double flops_ = 0, tokens_ = 0;  ///< of the whole run
  /// Since the last log line; seconds are those of the updates, the wait for data included.
  double inner_flops_ = 0, inner_tokens_ = 0, inner_seconds_ = 0, inner_updates_ = 0;
  RouterWatch watch_;
  double shown_loss_ = 0, shown_speed_ = 0, last_update_at_ = 0;
  std::optional<double> patience_best_;
  int64_t patience_used_ = 0;
  std::string last_stage_;  ///< empty: no stage of an evolution
};

}  // namespace evomoe
