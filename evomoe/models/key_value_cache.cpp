#include "evomoe/models/forward_context.h"

namespace evomoe {

void KeyValueCache::select(const torch::Tensor& row_N) {
  for (auto* tensors : {&key_BHSD, &value_BHSD, &memory_key_BHSD, &memory_value_BHSD}) {
    for (auto& tensor : *tensors) {
      if (tensor.defined()) tensor = tensor.index_select(0, row_N);
    }
  }
}

}  // namespace evomoe
