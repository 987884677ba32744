#include "evomoe/data/dataset.h"

#include "evomoe/data/batching.h"

namespace evomoe {

std::vector<int64_t> Dataset::ordered_indices(int64_t seed) const {
  return ordered_by_size(
      size(), [this](int64_t item) { return item_size(item); }, seed);
}

}  // namespace evomoe
