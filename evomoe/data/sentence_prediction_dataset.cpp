#include "evomoe/data/sentence_prediction_dataset.h"

#include <algorithm>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/data/numpy_random.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {

ShortenMethod parse_shorten_method(const std::string& name) {
  if (name == "none") return ShortenMethod::kNone;
  if (name == "truncate") return ShortenMethod::kTruncate;
  if (name == "random_crop") return ShortenMethod::kRandomCrop;
  fail_usage("--shorten-method `{}` is unknown; choose none, truncate or random_crop", name);
}

SentencePredictionDataset::SentencePredictionDataset(
    std::shared_ptr<const TokenStream> first, std::shared_ptr<const TokenStream> second,
    std::shared_ptr<const SentenceLabels> labels, int64_t epoch,
    const SentencePredictionDatasetOptions& options)
    : first_(std::move(first)),
      second_(std::move(second)),
      labels_(std::move(labels)),
      epoch_(epoch),
      options_(options) {
  EVOMOE_CHECK(size() > 0, "{}: no text in it; a split needs at least one line", name());
  EVOMOE_CHECK(!second_ || second_->items() == size(),
               "{} has {} lines, but {} has {}; both sentences of a row must be there", name(),
               size(), second_->name(), second_->items());
  EVOMOE_CHECK(!labels_ || labels_->size() == size(),
               "{} has {} lines, but {} has {} labels; each row needs one", name(), size(),
               labels_->name, labels_->size());
  EVOMOE_CHECK(options.shorten == ShortenMethod::kNone || options.max_positions > 0,
               "rows cannot be shortened to {} positions; raise --max-positions",
               options.max_positions);
}

int64_t SentencePredictionDataset::whole_size(int64_t item) const {
  int64_t size = first_->item_size(item) + (options_.init_token ? 1 : 0);
  if (second_) size += second_->item_size(item) + (options_.separator_token ? 1 : 0);
  return size;
}

int64_t SentencePredictionDataset::item_size(int64_t item) const {
  const int64_t size = whole_size(item);
  return options_.shorten == ShortenMethod::kNone ? size : std::min(size, options_.max_positions);
}

std::vector<int64_t> SentencePredictionDataset::ordered_indices(int64_t seed) const {
  std::vector<int64_t> order(size());
  std::iota(order.begin(), order.end(), 0);
  if (!options_.shuffle) return order;
  // numpy's lexsort((permutation,)): the item with the smallest value comes first.
  const auto permutation = NumpyRandom(seed).permutation(size());
  for (int64_t i = 0; i < size(); ++i) order[permutation[i]] = i;
  return order;
}

std::vector<int64_t> SentencePredictionDataset::row(int64_t item) const {
  std::vector<int64_t> row;
  if (options_.init_token) row.push_back(*options_.init_token);
  const auto append = [&](const TokenStream& sentences) {
    const auto tokens = sentences.item(item);
    row.insert(row.end(), tokens.begin(), tokens.end());
  };
  append(*first_);
  if (second_) {
    if (options_.separator_token) row.push_back(*options_.separator_token);
    append(*second_);
  }
  const int64_t excess = static_cast<int64_t>(row.size()) - item_size(item);
  if (excess > 0) {
    int64_t begin = 0;
    if (options_.shorten == ShortenMethod::kRandomCrop) {
      auto random = NumpyRandom::of_item(options_.seed, epoch_, item);
      begin = static_cast<int64_t>(random.interval(excess - 1));  // numpy.random.randint(0, excess)
    }
    row.erase(row.begin(), row.begin() + begin);
    row.resize(item_size(item));
  }
  return row;
}

int64_t SentencePredictionDataset::tokens() const {
  int64_t sum = 0;
  for (int64_t i = 0; i < size(); ++i) sum += item_size(i);
  return sum;
}

Batch SentencePredictionDataset::collate(std::span<const int64_t> items) const {
  Batch batch;
  batch.ids.assign(items.begin(), items.end());
  if (items.empty()) return batch;
  for (const int64_t item : items) {
    batch.lengths.push_back(item_size(item));
    batch.tokens += batch.lengths.back();
    batch.columns = std::max(batch.columns, batch.lengths.back());
    if (!labels_) continue;
    if (labels_->numbers.empty()) {
      batch.target.push_back(labels_->classes[item]);
    } else {
      batch.numbers.push_back(labels_->numbers[item]);
    }
  }
  batch.rows = static_cast<int64_t>(items.size());
  batch.target_columns = labels_ ? 1 : 0;
  batch.source.assign(batch.rows * batch.columns, Dictionary::kPad);
  for (size_t i = 0; i < items.size(); ++i) {
    const auto tokens = row(items[i]);
    std::copy(tokens.begin(), tokens.end(), batch.source.begin() + i * batch.columns);
  }
  return batch;
}

}  // namespace evomoe
