#pragma once

#include <cstdint>
#include <functional>
#include <span>
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

/// Removes items that do not fit `max_positions` (Dataset::fits), keeping the order. When
/// `skip_invalid` a warning tells how many, else the first one is an Error.
std::vector<int64_t> filter_by_size(std::vector<int64_t> items, const Dataset& dataset,
                                    int64_t max_positions, bool skip_invalid);

}  // namespace evomoe
