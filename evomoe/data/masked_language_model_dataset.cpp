#include "evomoe/data/masked_language_model_dataset.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/data/batching.h"
#include "evomoe/data/numpy_random.h"
#include "evomoe/data/python_hash.h"

namespace evomoe {
namespace {

void check_share(const char* flag, double value) {
  if (!(value >= 0 && value <= 1)) fail_usage("{} {}: allowed are 0 to 1", flag, value);
}

}  // namespace

void MaskingOptions::validate() const {
  if (!(mask_prob > 0 && mask_prob < 1))
    fail_usage("--mask-prob {}: allowed is above 0 and below 1", mask_prob);
  check_share("--leave-unmasked-prob", leave_unmasked_prob);
  check_share("--random-token-prob", random_token_prob);
  if (random_token_prob + leave_unmasked_prob > 1) {
    fail_usage("--random-token-prob {} and --leave-unmasked-prob {}: together at most 1",
               random_token_prob, leave_unmasked_prob);
  }
  if (mask_multiple_length < 1)
    fail_usage("--mask-multiple-length {}: it must be at least 1", mask_multiple_length);
  if (mask_stdev < 0) fail_usage("--mask-stdev {}: it must be at least 0", mask_stdev);
}

TokenMasker::TokenMasker(const MaskingOptions& options, const Dictionary& dictionary, int64_t mask)
    : options_(options), mask_(mask) {
  options_.validate();
  if (options_.random_token_prob == 0) return;
  replacement_weights_.assign(static_cast<size_t>(dictionary.size()), 1.0);
  if (options_.freq_weighted_replacement) {
    for (int64_t i = 0; i < dictionary.size(); ++i)
      replacement_weights_[static_cast<size_t>(i)] = static_cast<double>(dictionary.count(i));
  }
  std::fill_n(replacement_weights_.begin(), Dictionary::kSpecials, 0.0);
}

namespace {

using Flags = std::vector<bool>;

/// What is masked together: a word of several tokens, or a token.
std::vector<int64_t> units_of(std::span<const int64_t> item, const std::vector<bool>& begins) {
  std::vector<int64_t> unit_of(item.size());
  for (size_t i = 1; i < item.size(); ++i) {
    const bool new_unit = begins.empty() || begins.at(static_cast<size_t>(item[i]));
    unit_of[i] = unit_of[i - 1] + (new_unit ? 1 : 0);
  }
  return unit_of;
}

/// The units that are to be predicted.
Flags choose(int64_t units, const MaskingOptions& options, NumpyRandom& random) {
  Flags chosen(static_cast<size_t>(units), false);
  // The random number rounds up with the probability of the remainder.
  const auto count = static_cast<int64_t>(options.mask_prob * static_cast<double>(units) /
                                              static_cast<double>(options.mask_multiple_length) +
                                          random.rand());
  const auto places = random.choice_without_replacement(units, std::min(count, units));
  std::vector<int64_t> lengths(places.size(), options.mask_multiple_length);
  if (options.mask_stdev > 0) {
    const auto mean = static_cast<double>(options.mask_multiple_length);
    for (auto& length : lengths) {
      length = std::max<int64_t>(
          0, std::llrint(mean + options.mask_stdev * random.standard_normal()));
    }
  }
  for (size_t i = 0; i < places.size(); ++i) {
    const auto end = std::min(units, places[i] + lengths[i]);
    for (auto place = places[i]; place < end; ++place) chosen[static_cast<size_t>(place)] = true;
  }
  return chosen;
}

Flags draw_below(double bound, size_t units, NumpyRandom& random) {
  Flags below(units);
  for (size_t i = 0; i < units; ++i) below[i] = random.rand() < bound;
  return below;
}

}  // namespace

MaskedItem TokenMasker::operator()(std::span<const int64_t> item, int64_t item_seed) const {
  NumpyRandom random(item_seed);
  const auto unit_of = units_of(item, options_.word_begins);
  const auto units = static_cast<size_t>(unit_of.empty() ? 0 : unit_of.back() + 1);
  const auto chosen = choose(static_cast<int64_t>(units), options_, random);
  Flags kept(units, false), replaced(units, false);
  const double other = options_.random_token_prob + options_.leave_unmasked_prob;
  if (other > 0) {
    auto spared = draw_below(other, units, random);
    for (size_t i = 0; i < units; ++i) spared[i] = spared[i] && chosen[i];
    if (options_.random_token_prob == 0) {
      kept = spared;
    } else if (options_.leave_unmasked_prob == 0) {
      replaced = spared;
    } else {
      const auto keep = draw_below(options_.leave_unmasked_prob / other, units, random);
      for (size_t i = 0; i < units; ++i) {
        kept[i] = spared[i] && keep[i];
        replaced[i] = spared[i] && !keep[i];
      }
    }
  }
  MaskedItem masked{{item.begin(), item.end()},
                    std::vector<int64_t>(item.size(), Dictionary::kPad)};
  int64_t to_replace = 0;
  for (size_t i = 0; i < item.size(); ++i) {
    const auto unit = static_cast<size_t>(unit_of[i]);
    if (!chosen[unit]) continue;
    masked.target[i] = item[i];
    if (!kept[unit]) masked.source[i] = mask_;
    if (replaced[unit]) ++to_replace;
  }
  if (to_replace == 0) return masked;
  const auto tokens = random.choice_weighted(replacement_weights_, to_replace);
  auto token = tokens.begin();
  for (size_t i = 0; i < item.size(); ++i) {
    if (replaced[static_cast<size_t>(unit_of[i])]) masked.source[i] = *token++;
  }
  return masked;
}

MaskedLanguageModelDataset::MaskedLanguageModelDataset(std::shared_ptr<const TokenBlocks> blocks,
                                                       std::shared_ptr<const TokenMasker> masker,
                                                       int64_t tokens_per_sample, int64_t seed,
                                                       int64_t epoch, int64_t pad_to_batch_size)
    : blocks_(std::move(blocks)),
      masker_(std::move(masker)),
      tokens_per_sample_(tokens_per_sample),
      seed_(seed),
      epoch_(epoch),
      pad_to_batch_size_(pad_to_batch_size) {
  EVOMOE_CHECK(blocks_->size() > 0, "{}: no text in it; a split needs at least one line", name());
}

std::vector<int64_t> MaskedLanguageModelDataset::ordered_indices(int64_t seed) const {
  return ordered_by_size(size(), [this](int64_t item) { return item_size(item); }, seed);
}

int64_t MaskedLanguageModelDataset::rows_of(int64_t items) const {
  return items == 0 ? 0 : std::max(items, pad_to_batch_size_);
}

MaskedItem MaskedLanguageModelDataset::item(int64_t index) const {
  EVOMOE_CHECK(index >= 0 && index < size(), "{} has {} blocks; there is no block {}", name(),
               size(), index);
  std::vector<int64_t> tokens(static_cast<size_t>(item_size(index)));
  tokens.front() = Dictionary::kBos;
  blocks_->stream().read(blocks_->begin(index), std::span(tokens).subspan(1));
  const int64_t key[] = {seed_, epoch_, index};
  return (*masker_)(tokens, python_item_seed(key));
}

int64_t MaskedLanguageModelDataset::tokens() const {
  int64_t sum = 0;
  for (int64_t i = 0; i < size(); ++i) sum += item_size(i);
  return sum;
}

Batch MaskedLanguageModelDataset::collate(std::span<const int64_t> items) const {
  Batch batch;
  batch.ids.assign(items.begin(), items.end());
  if (items.empty()) return batch;
  // The authors' change of fairseq: rows of one length, so that ranks agree.
  batch.columns = tokens_per_sample_;
  for (const auto item : items) {
    batch.lengths.push_back(item_size(item));
    batch.tokens += batch.lengths.back();
    batch.columns = std::max(batch.columns, batch.lengths.back());
  }
  batch.target_columns = batch.columns;
  batch.rows = rows_of(static_cast<int64_t>(items.size()));
  const auto cells = static_cast<size_t>(batch.rows * batch.columns);
  batch.source.assign(cells, Dictionary::kPad);
  batch.target.assign(cells, Dictionary::kPad);
  for (size_t row = 0; row < items.size(); ++row) {
    const auto masked = item(items[row]);
    const auto at = static_cast<int64_t>(row) * batch.columns;
    std::copy(masked.source.begin(), masked.source.end(), batch.source.begin() + at);
    std::copy(masked.target.begin(), masked.target.end(), batch.target.begin() + at);
  }
  return batch;
}

}  // namespace evomoe
