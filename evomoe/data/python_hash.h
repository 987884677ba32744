#pragma once

#include <cstdint>
#include <span>

namespace evomoe {

/// What fairseq seeds NumPy with for one item: `int(hash((a, b, c)) % 1e6)` of CPython 3.8 and
/// later. Its tuple hash is xxHash-like; Python converts it to a double before the modulo.
int64_t python_item_seed(std::span<const int64_t> values);

}  // namespace evomoe
