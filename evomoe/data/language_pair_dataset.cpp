#include "evomoe/data/language_pair_dataset.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/data/dictionary.h"
#include "evomoe/data/numpy_random.h"

namespace evomoe {
namespace {

/// Rows of one width, padded on the left or on the right.
std::vector<int64_t> rectangle(const std::vector<std::vector<int64_t>>& rows, int64_t columns,
                               bool left) {
  std::vector<int64_t> cells(rows.size() * static_cast<size_t>(columns), Dictionary::kPad);
  for (size_t row = 0; row < rows.size(); ++row) {
    const auto begin = static_cast<int64_t>(row) * columns;
    const auto shift = left ? columns - static_cast<int64_t>(rows[row].size()) : 0;
    std::copy(rows[row].begin(), rows[row].end(), cells.begin() + begin + shift);
  }
  return cells;
}

int64_t longest(const std::vector<std::vector<int64_t>>& rows) {
  size_t most = 0;
  for (const auto& row : rows) most = std::max(most, row.size());
  return static_cast<int64_t>(most);
}

/// The target as the decoder reads it: </s> comes from the end to the front.
std::vector<int64_t> shifted(std::vector<int64_t> row) {
  if (!row.empty()) std::rotate(row.begin(), row.end() - 1, row.end());
  return row;
}

}  // namespace

LanguagePairDataset::LanguagePairDataset(std::shared_ptr<const TokenStream> source,
                                         std::shared_ptr<const TokenStream> target,
                                         const LanguagePairOptions& options)
    : source_(std::move(source)), target_(std::move(target)), options_(options) {
  EVOMOE_CHECK(source_->items() > 0, "{}: no text in it; a split needs at least one line", name());
  if (!target_) return;
  EVOMOE_CHECK(source_->items() == target_->items(),
               "{} has {} lines but {} has {}: line n of one must be the translation of line n of "
               "the other; make both again from text of equal length",
               source_->name(), source_->items(), target_->name(), target_->items());
}

int64_t LanguagePairDataset::source_size(int64_t item) const {
  const auto size = source_->item_size(item);
  return options_.truncate_source > 0 ? std::min(size, options_.truncate_source) : size;
}

int64_t LanguagePairDataset::item_size(int64_t item) const {
  return std::max(source_size(item), target_ ? target_->item_size(item) : 0);
}

std::vector<int64_t> LanguagePairDataset::ordered_indices(int64_t seed) const {
  auto order = NumpyRandom(seed).permutation(size());
  if (target_) {
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return target_->item_size(a) < target_->item_size(b);
    });
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return source_size(a) < source_size(b); });
  return order;
}

std::vector<int64_t> LanguagePairDataset::source(int64_t item) const {
  auto tokens = source_->item(item);
  const auto size = static_cast<size_t>(source_size(item));
  if (tokens.size() > size) {
    tokens.resize(size);
    tokens.back() = Dictionary::kEos;
  }
  return tokens;
}

std::vector<int64_t> LanguagePairDataset::target(int64_t item) const {
  return target_ ? target_->item(item) : std::vector<int64_t>();
}

int64_t LanguagePairDataset::tokens() const {
  return target_ ? target_->tokens() : source_->tokens();
}

Batch LanguagePairDataset::collate(std::span<const int64_t> items) const {
  Batch batch;
  batch.ids.assign(items.begin(), items.end());
  if (items.empty()) return batch;
  std::stable_sort(batch.ids.begin(), batch.ids.end(),
                   [&](int64_t a, int64_t b) { return source_size(a) > source_size(b); });
  std::vector<std::vector<int64_t>> sources, targets, previous;
  for (const auto item : batch.ids) {
    sources.push_back(source(item));
    batch.lengths.push_back(static_cast<int64_t>(sources.back().size()));
    if (target_) {
      targets.push_back(target(item));
      previous.push_back(shifted(targets.back()));
      batch.tokens += static_cast<int64_t>(targets.back().size());
    } else {
      previous.push_back({Dictionary::kEos});
      batch.tokens += batch.lengths.back();
    }
  }
  batch.rows = static_cast<int64_t>(items.size());
  batch.columns = longest(sources);
  batch.target_columns = longest(previous);
  batch.source = rectangle(sources, batch.columns, options_.left_pad_source);
  batch.previous_output = rectangle(previous, batch.target_columns, options_.left_pad_target);
  if (target_)
    batch.target = rectangle(targets, batch.target_columns, options_.left_pad_target);
  return batch;
}

}  // namespace evomoe
