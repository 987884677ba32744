#include "evomoe/data/batching.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/data/numpy_random.h"

namespace evomoe {

std::vector<int64_t> ordered_by_size(int64_t items, const std::function<int64_t(int64_t)>& size,
                                     int64_t seed) {
  // numpy's lexsort((permutation, sizes)): the item with the smallest value of the permutation
  // comes first among equals.
  const auto permutation = NumpyRandom(seed).permutation(items);
  std::vector<int64_t> order(items);
  for (int64_t i = 0; i < items; ++i) order[permutation[i]] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return size(a) < size(b); });
  return order;
}

Batches batch_by_size(std::vector<int64_t> items, const std::function<int64_t(int64_t)>& size,
                      const BatchLimits& limits) {
  const auto [max_tokens, max_sentences, multiple] = limits;
  if (max_tokens <= 0 && max_sentences <= 0) {
    fail_usage("neither --max-tokens nor --batch-size is given; give at least one of them");
  }
  if (multiple < 1) {
    fail_usage("--required-batch-size-multiple is {}; it must be at least 1", multiple);
  }
  // A batch [start, end) grows by whole tails [end, position]: a tail joins it when the sum has a
  // good number of rows. When batch and tail together break a limit, the batch is done and the tail
  // becomes the next one; should even the tail break the token limit, it is done without the item
  // at hand, which begins the next tail.
  Batches batches;
  const auto count = static_cast<int64_t>(items.size());
  int64_t start = 0;
  int64_t end = 0;
  int64_t batch_longest = 0;
  int64_t tail_longest = 0;
  const auto finish = [&](int64_t at) {
    batches.offset.push_back(at);
    start = at;
  };
  for (int64_t position = 0; position < count; ++position) {
    const int64_t item_size = size(items[position]);
    EVOMOE_CHECK(max_tokens <= 0 || item_size <= max_tokens,
                 "item {} has {} tokens, more than --max-tokens {}; raise --max-tokens, or cut the "
                 "items with "
                 "--tokens-per-sample or --max-target-positions",
                 items[position], item_size, max_tokens);
    tail_longest = std::max(tail_longest, item_size);
    int64_t longest = std::max(batch_longest, tail_longest);
    const int64_t rows = position + 1 - start;
    const bool overflow = (max_sentences > 0 && rows > max_sentences) ||
                          (max_tokens > 0 && rows * longest > max_tokens);
    if (overflow) {
      finish(end);
      if (max_tokens > 0 && tail_longest * (position + 1 - end) > max_tokens) {
        if (position > end) finish(position);
        end = position;
        tail_longest = item_size;
      }
      longest = tail_longest;
    }
    if (overflow || rows < multiple || rows % multiple == 0) {
      end = position + 1;
      batch_longest = longest;
      tail_longest = 0;
    }
  }
  if (end > start) batches.offset.push_back(end);
  if (count > end) batches.offset.push_back(count);
  batches.items = std::move(items);
  return batches;
}

std::vector<int64_t> filter_by_size(std::vector<int64_t> items, const Dataset& dataset,
                                    const ItemLimits& limits) {
  // Examples are counted, of which a packed item holds several.
  const auto examples_of = [&](int64_t item) {
    return std::max<int64_t>(std::ssize(dataset.examples_in(item)), 1);
  };
  int64_t too_long = 0, too_many = 0;  // for the model, for a batch
  std::optional<int64_t> first;
  std::erase_if(items, [&](int64_t item) {
    const bool fits = dataset.fits(item, limits.max_positions);
    if (fits && (limits.max_tokens <= 0 || dataset.item_size(item) <= limits.max_tokens))
      return false;
    (fits ? too_many : too_long) += examples_of(item);
    if (!first) first = item;
    return true;
  });
  if (!first) return items;
  std::vector<std::string> reasons, options;
  if (too_long > 0) {
    reasons.push_back(
        fmt::format("{} longer than {}", too_long, dataset.limit(limits.max_positions)));
    if (!limits.positions_option.empty()) options.push_back(limits.positions_option);
  }
  if (too_many > 0) {
    reasons.push_back(
        fmt::format("{} longer than {} {}", too_many, limits.tokens_option, limits.max_tokens));
    options.push_back(limits.tokens_option);
  }
  const auto removed = too_long + too_many;
  auto all = removed;
  for (const auto item : items) all += examples_of(item);
  const auto packed = dataset.examples_in(*first);
  const auto named = packed.empty() ? *first : packed.front();
  const auto found = fmt::format("{}: {} of {} items {} too long: {} (item {} has {} tokens)",
                                 dataset.name(), removed, all, removed == 1 ? "is" : "are",
                                 fmt::join(reasons, ", "), named, dataset.item_size(*first));
  const auto raise = options.empty() ? "" : fmt::format("raise {}", fmt::join(options, " and "));
  EVOMOE_CHECK(limits.skip_invalid,
               "{}; {}leave such items out with --skip-invalid-size-inputs-valid-test", found,
               raise.empty() ? "" : raise + ", or ");
  EVOMOE_CHECK(!items.empty(), "{}, so that none is left{}", found,
               raise.empty() ? "" : "; " + raise);
  warn_once(found + "; left out");
  return items;
}

}  // namespace evomoe
