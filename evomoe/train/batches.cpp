#include "evomoe/train/batches.h"

#include <fmt/ranges.h>

#include <numeric>
#include <vector>

#include "evomoe/train/model_options.h"
#include "evomoe/train/task.h"

namespace evomoe {

EpochIteratorOptions iterator_options(const TrainOptions& options, bool training,
                                      const RankPlace& place) {
  const auto& dataset = options.dataset;
  const auto max_tokens =
      training || !dataset.max_tokens_valid ? dataset.max_tokens : dataset.max_tokens_valid;
  const auto batch_size =
      training || !dataset.batch_size_valid ? dataset.batch_size : dataset.batch_size_valid;
  EpochIteratorOptions iterator;
  iterator.limits.max_tokens = max_tokens.value_or(0);
  iterator.limits.max_sentences = batch_size.value_or(0);
  iterator.limits.multiple = dataset.required_batch_size_multiple;
  iterator.max_positions = longest_item(options);
  const auto longer = find_task(options.task.task).length_options(options);
  iterator.positions_option = fmt::format("{}", fmt::join(longer, " or "));
  if (!training && dataset.max_tokens_valid) iterator.tokens_option = "--max-tokens-valid";
  iterator.skip_invalid = training || dataset.skip_invalid_size_inputs_valid_test;
  iterator.rank = place.rank;
  iterator.world_size = place.size;
  iterator.seed = options.common.seed;
  iterator.shuffle = training;
  iterator.curriculum = training ? dataset.curriculum : 0;
  if (!training) iterator.max_batches = dataset.max_valid_steps.value_or(-1);
  if (training) iterator.update_freq = options.optimization.update_freq;
  iterator.num_workers = static_cast<int>(dataset.num_workers);
  return iterator;
}

DeviceBatch to_device(const Batch& batch, int64_t padding_index, torch::Device device) {
  const auto tensor = [&](const std::vector<int64_t>& values, int64_t columns) {
    return torch::tensor(values, torch::kLong).view({batch.rows, columns}).to(device);
  };
  DeviceBatch result;
  auto& input = result.input;
  input.source_BS = tensor(batch.source, batch.columns);
  if (std::reduce(batch.lengths.begin(), batch.lengths.end()) < batch.rows * batch.columns)
    input.source_padding_BS = input.source_BS.eq(padding_index);
  if (!batch.segment.empty()) input.segment_BS = tensor(batch.segment, batch.columns);
  if (!batch.previous_output.empty()) {
    input.previous_BU = tensor(batch.previous_output, batch.target_columns);
    if (batch.tokens < batch.rows * batch.target_columns)
      input.previous_padding_BU = input.previous_BU.eq(padding_index);
  }
  result.target = batch.numbers.empty()
                      ? tensor(batch.target, batch.target_columns)
                      : torch::tensor(batch.numbers).view({batch.rows, 1}).to(device);
  result.sequences = static_cast<int64_t>(batch.ids.size());
  result.tokens = batch.tokens;
  result.few_targets = batch.few_targets;
  return result;
}

}  // namespace evomoe
