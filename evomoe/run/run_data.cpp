#include "evomoe/run/run_data.h"

#include "evomoe/base/error.h"
#include "evomoe/data/data_folders.h"
#include "evomoe/loading/run_folder.h"
#include "evomoe/train/batches.h"
#include "evomoe/train/task.h"

namespace evomoe {
namespace {

void refuse_unused_subsets(const DatasetOptions& dataset, TaskData& task) {
  if (dataset.combine_valid_subsets || dataset.ignore_unused_valid_subsets) return;
  const auto unused = task.unused_valid_splits(dataset.valid_subset);
  if (unused.empty()) return;
  fail_usage(
      "the data has further validation sets ({}...) that --valid-subset does not name; add "
      "--combine-valid-subsets, "
      "--ignore-unused-valid-subsets or --disable-validation",
      unused.front());
}

void open_valid_subsets(const TrainOptions& options, RunData& data) {
  const auto& dataset = options.dataset;
  refuse_unused_subsets(dataset, *data.task);
  for (const auto& subset : dataset.valid_subset) {
    const auto rows = options.task.pad_to_fixed_bsz
                          ? dataset.batch_size_valid.value_or(dataset.batch_size.value_or(0))
                          : 0;
    data.valid[subset] = data.task->open(subset, dataset.combine_valid_subsets, rows);
    // Forms the batches once, so that a sequence that is too long is known of now.
    EpochIterator(data.valid[subset], iterator_options(options, /*training=*/false))
        .batches_per_epoch();
  }
}

}  // namespace

int64_t RunData::items(const TrainOptions& options, int64_t epoch) const {
  return task->train(epoch, options.dataset.train_subset)->size();
}

RunData open_run_data(TrainOptions& options, const RankPlace& place) {
  RunData data;
  data.task = open_task_data(options.data, options);
  const auto train = data.task->train(1, options.dataset.train_subset);
  if (!options.dataset.disable_validation) open_valid_subsets(options, data);
  if (options.task.bleu.eval_bleu) data.bpe = bpe_in(split_data_paths(options.data).front());
  data.batches = std::make_unique<EpochIterator>(
      [task = data.task.get(), subset = options.dataset.train_subset](int64_t epoch) {
        return task->train(epoch, subset);
      },
      iterator_options(options, /*training=*/true, place));
  const auto batches = data.batches->batches_of_all_ranks();
  EVOMOE_CHECK(batches > 0, "{}: no batch can be made of the training data", train->name());
  EVOMOE_CHECK(place.size <= batches,
               "{}: it has {} batches, fewer than the {} ranks; make the batches smaller "
               "(--max-tokens, --batch-size), or start fewer processes",
               train->name(), batches, place.size);
  return data;
}

}  // namespace evomoe
