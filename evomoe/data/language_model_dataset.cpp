#include "evomoe/data/language_model_dataset.h"

#include <algorithm>

#include "evomoe/base/error.h"

namespace evomoe {

LanguageModelDataset::LanguageModelDataset(std::shared_ptr<const TokenStream> stream,
                                           const LanguageModelDatasetOptions& options)
    : blocks_(std::move(stream), options.break_mode, options.tokens_per_sample), options_(options) {
  EVOMOE_CHECK(blocks_.size() > 0, "{}: no text in it; a split needs at least one line", name());
}

int64_t LanguageModelDataset::rows_of(int64_t items) const {
  return items == 0 ? 0 : std::max(items, options_.pad_to_batch_size);
}

void LanguageModelDataset::read_item(int64_t index, std::span<int64_t> source,
                                     std::span<int64_t> target) const {
  if (options_.add_bos_token) {
    source[0] = target[0] = Dictionary::kBos;
    source = source.subspan(1);
    target = target.subspan(1);
  }
  const auto length = static_cast<size_t>(blocks_.block_size(index));
  if (length == 0) return;
  const int64_t begin = blocks_.begin(index);
  target = target.first(length);
  blocks_.stream().read(begin, target);
  std::copy_n(target.begin(), length - 1, source.begin() + 1);
  if (blocks_.starts_item(index)) {
    source[0] = Dictionary::kEos;
  } else {
    blocks_.stream().read(begin - 1, source.first(1));
  }
}

LanguageModelDataset::Item LanguageModelDataset::item(int64_t index) const {
  EVOMOE_CHECK(index >= 0 && index < size(), "{} has {} blocks; there is no block {}", name(),
               size(), index);
  Item item;
  item.source.resize(row_length(index));
  item.target.resize(row_length(index));
  read_item(index, item.source, item.target);
  return item;
}

int64_t LanguageModelDataset::tokens() const {
  int64_t sum = 0;
  for (int64_t i = 0; i < size(); ++i) sum += row_length(i);
  return sum;
}

Batch LanguageModelDataset::collate(std::span<const int64_t> items) const {
  Batch batch;
  batch.ids.assign(items.begin(), items.end());
  if (items.empty()) return batch;
  for (const int64_t item : items) {
    batch.lengths.push_back(row_length(item));
    batch.tokens += batch.lengths.back();
    batch.columns = std::max(batch.columns, batch.lengths.back());
  }
  if (options_.pad_to_fixed_length) {
    batch.columns = std::max(batch.columns, options_.tokens_per_sample);
  }
  batch.target_columns = batch.columns;
  batch.rows = rows_of(static_cast<int64_t>(items.size()));
  batch.source.assign(batch.rows * batch.columns, Dictionary::kPad);
  batch.target.assign(batch.rows * batch.columns, Dictionary::kPad);
  for (size_t row = 0; row < items.size(); ++row) {
    const auto begin = row * batch.columns;
    read_item(items[row], std::span(batch.source).subspan(begin, batch.lengths[row]),
              std::span(batch.target).subspan(begin, batch.lengths[row]));
  }
  return batch;
}

}  // namespace evomoe
