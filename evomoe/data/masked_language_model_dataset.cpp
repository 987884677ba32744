#include "evomoe/data/masked_language_model_dataset.h"

#include <algorithm>

#include "evomoe/base/error.h"

namespace evomoe {

MaskedLanguageModelDataset::MaskedLanguageModelDataset(std::shared_ptr<const TokenBlocks> blocks,
                                                       std::shared_ptr<const TokenMasking> masking,
                                                       int64_t epoch, int64_t tokens_per_sample,
                                                       int64_t pad_to_batch_size)
    : blocks_(std::move(blocks)),
      masking_(std::move(masking)),
      epoch_(epoch),
      tokens_per_sample_(tokens_per_sample),
      pad_to_batch_size_(pad_to_batch_size) {
  EVOMOE_CHECK(blocks_->size() > 0, "{}: no text in it; a split needs at least one line", name());
}

int64_t MaskedLanguageModelDataset::tokens() const {
  int64_t sum = 0;
  for (int64_t i = 0; i < size(); ++i) sum += item_size(i);
  return sum;
}

int64_t MaskedLanguageModelDataset::rows_of(int64_t items) const {
  return items == 0 ? 0 : std::max(items, pad_to_batch_size_);
}

Batch MaskedLanguageModelDataset::collate(std::span<const int64_t> items) const {
  Batch batch;
  batch.ids.assign(items.begin(), items.end());
  if (items.empty()) return batch;
  batch.columns = tokens_per_sample_;
  for (const int64_t item : items) {
    batch.lengths.push_back(item_size(item));
    batch.tokens += batch.lengths.back();
    batch.columns = std::max(batch.columns, batch.lengths.back());
  }
  batch.target_columns = batch.columns;
  batch.rows = rows_of(static_cast<int64_t>(items.size()));
  batch.source.assign(batch.rows * batch.columns, Dictionary::kPad);
  batch.target.assign(batch.rows * batch.columns, Dictionary::kPad);
  for (size_t row = 0; row < items.size(); ++row) {
    const auto begin = row * batch.columns;
    const auto source = std::span(batch.source).subspan(begin, batch.lengths[row]);
    const auto target = std::span(batch.target).subspan(begin, batch.lengths[row]);
    source[0] = Dictionary::kBos;
    blocks_->stream().read(blocks_->begin(items[row]), source.subspan(1));
    masking_->mask(epoch_, items[row], source, target);
  }
  return batch;
}

}  // namespace evomoe
