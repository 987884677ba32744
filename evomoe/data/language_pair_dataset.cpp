#include "evomoe/data/language_pair_dataset.h"

#include <algorithm>
#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/data/numpy_random.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {
namespace {

/// The part of a row of `columns` where a sentence of `length` lies.
std::span<int64_t> place_in_row(std::vector<int64_t>& rows, int64_t row, int64_t columns,
                                int64_t length, bool left_pad) {
  return std::span(rows).subspan(row * columns + (left_pad ? columns - length : 0), length);
}

}  // namespace

LanguagePairDataset::LanguagePairDataset(std::vector<PairFiles> parts,
                                         const LanguagePairDatasetOptions& options)
    : parts_(std::move(parts)), options_(options) {
  EVOMOE_CHECK(!parts_.empty(), "a corpus of pairs needs at least one part");
  if (options.truncate_source && options.max_source_positions < 2) {
    fail_usage(
        "--truncate-source cuts to --max-source-positions, which is {}; it must be at least 2",
        options.max_source_positions);
  }
  for (const auto& part : parts_) {
    const int64_t items = part.source->items();
    EVOMOE_CHECK((part.target != nullptr) == has_target(),
                 "{} has {} target, {} has {}; give all parts of a split both sides, or none",
                 parts_.front().source->name(), has_target() ? "a" : "no", part.source->name(),
                 part.target ? "one" : "none");
    EVOMOE_CHECK(!part.target || part.target->items() == items,
                 "{} has {} lines, but {} has {}; the two sides of a pair must have equally many: "
                 "make both again with `evomoe preprocess -s .. -t ..` from files that belong "
                 "together",
                 part.source->name(), items, part.target->name(), part.target->items());
    EVOMOE_CHECK(part.times >= 1,
                 "{}: it is to be read {} times; --upsample-primary must be 1 or more",
                 part.source->name(), part.times);
    first_item_.push_back(first_item_.back() + items * part.times);
  }
  EVOMOE_CHECK(size() > 0, "{}: no text in it; a split needs at least one line", name());
}

std::string LanguagePairDataset::name() const {
  std::string names = parts_.front().source->name();
  for (size_t i = 1; i < parts_.size(); ++i) names += " + " + parts_[i].source->name();
  return names;
}

LanguagePairDataset::Place LanguagePairDataset::place(int64_t item) const {
  EVOMOE_CHECK(item >= 0 && item < size(), "{} has {} pairs; there is no pair {}", name(), size(),
               item);
  const auto part =
      std::upper_bound(first_item_.begin(), first_item_.end(), item) - first_item_.begin() - 1;
  return {parts_[part], (item - first_item_[part]) % parts_[part].source->items()};
}

int64_t LanguagePairDataset::source_size(int64_t item) const {
  const auto [files, at] = place(item);
  const int64_t size = files.source->item_size(at);
  return options_.truncate_source ? std::min(size, options_.max_source_positions) : size;
}

int64_t LanguagePairDataset::target_size(int64_t item) const {
  const auto [files, at] = place(item);
  return files.target ? files.target->item_size(at) : 0;
}

int64_t LanguagePairDataset::item_size(int64_t item) const {
  return std::max(source_size(item), target_size(item));
}

bool LanguagePairDataset::fits(int64_t item, int64_t max_positions) const {
  const auto within = [&](int64_t size, int64_t own) {
    const auto limit = own > 0 ? own : max_positions;
    return limit <= 0 || size <= limit;
  };
  return within(source_size(item), options_.max_source_positions) &&
         within(target_size(item), options_.max_target_positions);
}

std::string LanguagePairDataset::limit(int64_t max_positions) const {
  const auto text = [&](int64_t own) {
    const auto limit = own > 0 ? own : max_positions;
    return limit <= 0 ? std::string("any number of") : std::to_string(limit);
  };
  return fmt::format("the model's {} (source), {} (target) positions",
                     text(options_.max_source_positions), text(options_.max_target_positions));
}

std::vector<int64_t> LanguagePairDataset::ordered_indices(int64_t seed) const {
  std::vector<int64_t> order;
  if (options_.shuffle) {
    order = NumpyRandom(seed).permutation(size());
  } else {
    order.resize(size());
    std::iota(order.begin(), order.end(), 0);
  }
  // By target first: the stable sort by source keeps that order among equals.
  std::vector<int64_t> sizes(size());
  const auto sort_by_sizes = [&] {
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return sizes[a] < sizes[b]; });
  };
  if (has_target()) {
    for (int64_t i = 0; i < size(); ++i) sizes[i] = target_size(i);
    sort_by_sizes();
  }
  for (int64_t i = 0; i < size(); ++i) sizes[i] = source_size(i);
  sort_by_sizes();
  return order;
}

std::vector<int64_t> LanguagePairDataset::source(int64_t item) const {
  const auto [files, at] = place(item);
  auto tokens = files.source->item(at);
  const int64_t length = source_size(item);
  if (length < static_cast<int64_t>(tokens.size())) {
    tokens.resize(length);
    tokens.back() = Dictionary::kEos;
  }
  return tokens;
}

std::vector<int64_t> LanguagePairDataset::target(int64_t item) const {
  const auto [files, at] = place(item);
  return files.target ? files.target->item(at) : std::vector<int64_t>();
}

int64_t LanguagePairDataset::tokens() const {
  int64_t sum = 0;
  for (const auto& part : parts_) {
    sum += part.times * (part.target ? part.target->tokens() : 0);
  }
  if (has_target()) return sum;
  for (int64_t i = 0; i < size(); ++i) sum += source_size(i);
  return sum;
}

Batch LanguagePairDataset::collate(std::span<const int64_t> items) const {
  Batch batch;
  batch.ids.assign(items.begin(), items.end());
  if (items.empty()) return batch;
  // fairseq sorts with torch's unstable sort, which is libstdc++'s std::sort: the same call here
  // leaves rows of equal length in the same order.
  std::sort(batch.ids.begin(), batch.ids.end(),
            [this](int64_t a, int64_t b) { return source_size(a) > source_size(b); });
  batch.rows = static_cast<int64_t>(items.size());
  for (const int64_t item : batch.ids) {
    batch.lengths.push_back(source_size(item));
    batch.columns = std::max(batch.columns, batch.lengths.back());
    batch.target_columns = std::max(batch.target_columns, target_size(item));
    batch.tokens += has_target() ? target_size(item) : batch.lengths.back();
  }
  batch.source.assign(batch.rows * batch.columns, Dictionary::kPad);
  batch.target.assign(batch.rows * batch.target_columns, Dictionary::kPad);
  batch.previous_output = batch.target;
  for (int64_t row = 0; row < batch.rows; ++row) {
    const auto tokens = source(batch.ids[row]);
    std::copy(
        tokens.begin(), tokens.end(),
        place_in_row(batch.source, row, batch.columns, batch.lengths[row], options_.left_pad_source)
            .begin());
    const auto reference = target(batch.ids[row]);
    if (reference.empty()) continue;
    const auto in_row = [&](std::vector<int64_t>& rows) {
      return place_in_row(rows, row, batch.target_columns, static_cast<int64_t>(reference.size()),
                          options_.left_pad_target);
    };
    std::copy(reference.begin(), reference.end(), in_row(batch.target).begin());
    const auto previous = in_row(batch.previous_output);
    previous[0] = Dictionary::kEos;
    std::copy(reference.begin(), reference.end() - 1, previous.begin() + 1);
  }
  return batch;
}

Batch source_batch(const std::vector<std::vector<int64_t>>& sources, bool left_pad_source) {
  const LanguagePairDataset dataset({{std::make_shared<MemoryStream>(sources, "the sources given"),
                                      /*target=*/nullptr}},
                                    {.left_pad_source = left_pad_source});
  std::vector<int64_t> items(sources.size());
  std::iota(items.begin(), items.end(), 0);
  return dataset.collate(items);
}

}  // namespace evomoe
