#include "evomoe/data/epoch_iterator.h"

#include <algorithm>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/data/batch_prefetcher.h"
#include "evomoe/data/numpy_random.h"

namespace evomoe {

EpochIterator::EpochIterator(std::shared_ptr<const Dataset> dataset, EpochIteratorOptions options)
    : EpochIterator([dataset](int64_t) { return dataset; }, std::move(options)) {}

EpochIterator::EpochIterator(DatasetOfEpoch dataset_of_epoch, EpochIteratorOptions options)
    : dataset_of_epoch_(std::move(dataset_of_epoch)), options_(std::move(options)) {
  EVOMOE_CHECK(
      options_.world_size >= 1 && options_.rank >= 0 && options_.rank < options_.world_size,
      "rank {} is not one of {} data-parallel ranks", options_.rank, options_.world_size);
  const auto& freq = options_.update_freq;
  if (freq.empty() || std::any_of(freq.begin(), freq.end(), [](int64_t n) { return n < 1; })) {
    fail_usage("--update-freq must be a list of numbers of at least 1");
  }
  if (options_.num_workers < 0) {
    fail_usage("--num-workers is {}; it must be 0 (no threads) or more", options_.num_workers);
  }
}

EpochIterator::~EpochIterator() = default;

void EpochIterator::form_batches(int64_t epoch) {
  auto dataset = dataset_of_epoch_(epoch);
  if (dataset == dataset_) return;  // frozen
  const auto size = [&](int64_t item) { return dataset->item_size(item); };
  auto items = filter_by_size(dataset->ordered_indices(options_.seed), *dataset,
                              {.max_positions = options_.max_positions,
                               .max_tokens = options_.limits.max_tokens,
                               .skip_invalid = options_.skip_invalid,
                               .positions_option = options_.positions_option,
                               .tokens_option = options_.tokens_option});
  batches_ = batch_by_size(std::move(items), size, options_.limits);
  dataset_ = std::move(dataset);
}

int64_t EpochIterator::update_freq() const {
  const auto last = static_cast<int64_t>(options_.update_freq.size()) - 1;
  return options_.update_freq[std::clamp<int64_t>(epoch_ - 1, 0, last)];
}

void EpochIterator::start_epoch(int64_t epoch, int64_t done) {
  EVOMOE_CHECK(epoch >= 1, "there is no epoch {}; epochs count from 1", epoch);
  prefetcher_.reset();  // its threads read what changes now
  form_batches(epoch);
  epoch_ = epoch;
  const int64_t batches = batches_of_all_ranks();
  EVOMOE_CHECK(
      done >= 0 && done <= batches,
      "cannot begin epoch {} behind micro-batch {}: it has {}. The data or the batch size differ "
      "from those of the checkpoint; give the same, or --reset-dataloader",
      epoch, done, batches);
  order_.resize(static_cast<size_t>(batches_of_all_ranks()));
  std::iota(order_.begin(), order_.end(), 0);
  if (options_.shuffle && epoch > options_.curriculum) {
    NumpyRandom(options_.seed + epoch).shuffle(order_);
  }
  first_ = done;
  place_ = 0;
  if (options_.num_workers > 0) {
    prefetcher_ = std::make_unique<BatchPrefetcher>([this](int64_t place) { return make(place); },
                                                    0, places(), options_.num_workers,
                                                    options_.prefetch_batches);
  }
}

Batch EpochIterator::make(int64_t place) const {
  const int64_t world = options_.world_size;
  const int64_t mine = first_ + place * world + options_.rank;
  Batch batch;
  const auto count = static_cast<int64_t>(order_.size());
  if (mine < count) {
    batch = dataset_->collate(batches_[order_[mine]]);
  } else {
    batch = dataset_->collate(batches_[order_.front()]);
    batch.stands_in = true;
    batch.ids.clear();
    batch.tokens = 0;
  }
  // Ranks take turns, so that the batches of an update are neighbours in the order whatever the
  // number of ranks.
  const int64_t group = place / update_freq() * update_freq();
  for (int64_t i = first_ + group * world; i < std::min(mine, count); ++i) {
    batch.first_sequence += dataset_->rows_of(static_cast<int64_t>(batches_[order_[i]].size()));
  }
  return batch;
}

std::optional<std::vector<Batch>> EpochIterator::next_update() {
  EVOMOE_CHECK(epoch_ > 0, "start_epoch must come before next_update");
  const int64_t end = std::min(place_ + update_freq(), places());
  if (place_ >= end) return std::nullopt;
  std::vector<Batch> update;
  for (; place_ < end; ++place_) {
    update.push_back(prefetcher_ ? prefetcher_->next() : make(place_));
  }
  return update;
}

int64_t EpochIterator::batches_of_all_ranks() {
  if (!dataset_) form_batches(1);
  const auto most = options_.max_batches;
  return most < 0 ? batches_.size() : std::min<int64_t>(most, batches_.size());
}

int64_t EpochIterator::places() {
  const auto left = batches_of_all_ranks() - first_;
  return (left + options_.world_size - 1) / options_.world_size;
}

int64_t EpochIterator::batches_per_epoch() {
  return (batches_of_all_ranks() + options_.world_size - 1) / options_.world_size;
}

int64_t EpochIterator::updates_per_epoch() {
  return (batches_per_epoch() + update_freq() - 1) / update_freq();
}

}  // namespace evomoe
