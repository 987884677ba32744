#include "evomoe/routing/epsilon.h"

#include <limits>

#include "evomoe/base/error.h"

namespace evomoe {

double epsilon(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat64:
      return std::numeric_limits<double>::epsilon();
    case torch::kFloat32:
      return std::numeric_limits<float>::epsilon();
    case torch::kFloat16:
      return 0x1p-10;
    case torch::kBFloat16:
      return 0x1p-7;
    default:
      fail("{} is not a floating type: gate probabilities must be floating", c10::toString(type));
  }
}

}  // namespace evomoe
