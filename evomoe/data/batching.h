#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"

namespace evomoe {

/// fairseq's order of a language-model dataset: by size, ties by the value of a permutation drawn
/// with `seed`.
std::vector<int64_t> ordered_by_size(int64_t items, const std::function<int64_t(int64_t)>& size,
                                     int64_t seed);

/// Batches as slices of one array of items: batch b is items[offset[b] .. offset[b+1]).
struct Batches {
  std::vector<int64_t> items;
  std::vector<int64_t> offset{0};
  int64_t size() const { return static_cast<int64_t>(offset.size()) - 1; }
  std::span<const int64_t> operator[](int64_t batch) const {
    return {items.data() + offset[batch], static_cast<size_t>(offset[batch + 1] - offset[batch])};
  }
};

struct BatchLimits {
  int64_t max_tokens = 0;     ///< rows x longest item of a batch; 0: no limit
  int64_t max_sentences = 0;  ///< rows; 0: no limit
  int64_t multiple = 8;       ///< when max_tokens limits, rows are below it or a multiple of it
};

/// Cuts `items` into batches, in their order, by fairseq's greedy algorithm. An Error names an item
/// longer than max_tokens; neither limit given is a UsageError.
Batches batch_by_size(std::vector<int64_t> items, const std::function<int64_t(int64_t)>& size,
                      const BatchLimits& limits);

/// Which items are too long, and what becomes of them.
struct ItemLimits {
  int64_t max_positions = 0;  ///< of the model (Dataset::fits); 0: no limit
  int64_t max_tokens = 0;     ///< of a batch; 0: no limit
  bool skip_invalid = true;   ///< they are left out; false: the first one is an Error
  /// The options that raise the limits, for messages; empty: none does.
  std::string positions_option;
  std::string tokens_option = "--max-tokens";
};

/// Removes the items that are too long, keeping the order. A warning tells how many; that none is
/// left is an Error.
std::vector<int64_t> filter_by_size(std::vector<int64_t> items, const Dataset& dataset,
                                    const ItemLimits& limits);

}  // namespace evomoe
