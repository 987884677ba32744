#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace evomoe {

/// A part of a tensor that ranks hold together: elements [begin, end) of it, in row-major order.
struct TensorPiece {
  std::vector<int64_t> shape;  ///< of the whole tensor
  int64_t begin = 0, end = 0;

  bool operator==(const TensorPiece&) const = default;
};

/// By name; a tensor that is not among them is whole.
using TensorPieces = std::map<std::string, TensorPiece>;

}  // namespace evomoe
