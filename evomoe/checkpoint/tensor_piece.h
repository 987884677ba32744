#pragma once

#include <cstdint>
#include <vector>

namespace evomoe {

/// Which part of a whole tensor a rank has: elements [begin, end) of it, flattened, as a tensor of
/// one axis.
struct TensorPiece {
  std::vector<int64_t> shape;  ///< of the whole tensor
  int64_t begin = 0, end = 0;

  bool operator==(const TensorPiece&) const = default;
};

}  // namespace evomoe
