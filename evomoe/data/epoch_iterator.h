#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/data/batching.h"
#include "evomoe/data/dataset.h"

namespace evomoe {

class BatchPrefetcher;

struct EpochIteratorOptions {
  BatchLimits limits;         ///< `--max-tokens`, `--batch-size`, `--required-batch-size-multiple`
  int64_t max_batches = -1;   ///< of all ranks in an epoch; negative: all that there are
  int64_t max_positions = 0;  ///< of the model; 0: no limit
  /// Items longer than that or max_tokens are left out, else an Error. Training: true; validation:
  /// `--skip-invalid-size-inputs-valid-test`.
  bool skip_invalid = true;
  /// As in ItemLimits.
  std::string positions_option = "--max-target-positions", tokens_option = "--max-tokens";
  int64_t seed = 1;
  bool shuffle = true;     ///< false for validation: batches come in order of size
  int64_t curriculum = 0;  ///< epochs 1..curriculum are not shuffled either
  int64_t rank = 0;        ///< of the data-parallel ranks
  int64_t world_size = 1;
  std::vector<int64_t> update_freq{
      1};                         ///< micro-batches of an update by epoch; the last entry holds on
  int num_workers = 0;            ///< threads that make batches ahead; 0: made when asked for
  int64_t prefetch_batches = 10;  ///< most batches made ahead
};

/// Delivers the batches of each epoch in fairseq's order: batches are formed once, shuffled with
/// seed + epoch, dealt out to the ranks (r, r+W, ...; ranks that come short get one that stands in)
/// and grouped into updates that never cross an epoch.
class EpochIterator {
 public:
  /// Gives the dataset of an epoch (first epoch: 1); must return the same object while it does not
  /// change.
  using DatasetOfEpoch = std::function<std::shared_ptr<const Dataset>(int64_t epoch)>;

  EpochIterator(std::shared_ptr<const Dataset> dataset, EpochIteratorOptions options);
  /// For data paths `a:b:c`, of which each epoch uses one.
  EpochIterator(DatasetOfEpoch dataset_of_epoch, EpochIteratorOptions options);
  ~EpochIterator();
  EpochIterator(const EpochIterator&) = delete;
  EpochIterator& operator=(const EpochIterator&) = delete;

  /// Begins epoch `epoch` (from 1) behind its first `done` batches, those of all ranks (to resume,
  /// whatever the number of ranks was). An Error when the epoch has fewer.
  void start_epoch(int64_t epoch, int64_t done = 0);

  /// The micro-batches of the next update: update_freq of them, fewer at the end of the epoch;
  /// nothing when the epoch is over.
  std::optional<std::vector<Batch>> next_update();

  int64_t epoch() const { return epoch_; }
  /// Micro-batches of a rank delivered in this epoch, those skipped by start_epoch included.
  int64_t offset() const { return first_ / options_.world_size + place_; }
  /// Batches of all ranks delivered in this epoch, those skipped included.
  int64_t batches_done() {
    return std::min(first_ + place_ * options_.world_size, batches_of_all_ranks());
  }
  /// Batches of all ranks in this epoch (before start_epoch: in epoch 1).
  int64_t batches_of_all_ranks();
  /// Micro-batches of a rank in this epoch, stand-ins included.
  int64_t batches_per_epoch();
  /// Updates delivered in this epoch, those skipped by start_epoch included; the last one may have
  /// fewer micro-batches.
  int64_t updates() const { return (offset() + update_freq() - 1) / update_freq(); }
  /// Updates in this epoch.
  int64_t updates_per_epoch();
  bool finished() { return place_ >= places(); }

 private:
  void form_batches(int64_t epoch);
  int64_t update_freq() const;
  /// Micro-batches of a rank from where the epoch began, stand-ins included.
  int64_t places();
  /// The micro-batch at place `place` of this rank; one that stands in when there is none.
  Batch make(int64_t place) const;

  DatasetOfEpoch dataset_of_epoch_;
  EpochIteratorOptions options_;
  std::shared_ptr<const Dataset> dataset_;
  Batches batches_;
  std::vector<int64_t> order_;  // of the batches of this epoch in batches_
  int64_t epoch_ = 0;
  int64_t first_ = 0;  ///< batch of all ranks at which this epoch began
  int64_t place_ = 0;  ///< micro-batches of this rank since
  std::unique_ptr<BatchPrefetcher> prefetcher_;
};

}  // namespace evomoe
