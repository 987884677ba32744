#include "evomoe/models/key_value_cache.h"

#include <algorithm>

namespace evomoe {
namespace {

/// Room for `tokens` and some to come.
int64_t room_for(int64_t tokens) { return tokens + std::max<int64_t>(32, tokens / 4); }

}  // namespace

torch::Tensor GrowingHeads::append(const torch::Tensor& x_BKSC, int64_t window) {
  const torch::NoGradGuard no_grad;
  const auto added = x_BKSC.size(2);
  if (!room_BKSC_.defined() || end_ + added > room_BKSC_.size(2)) {
    const auto before = kept_BKSC();
    const auto count = end_ - begin_;
    auto shape = x_BKSC.sizes().vec();
    shape[2] = room_for(count + added);
    room_BKSC_ = torch::empty(shape, x_BKSC.options());
    if (count > 0) room_BKSC_.narrow(2, 0, count).copy_(before);
    begin_ = 0;
    end_ = count;
  }
  room_BKSC_.narrow(2, end_, added).copy_(x_BKSC);
  end_ += added;
  const auto all = kept_BKSC();
  if (window > 0) begin_ = std::max(begin_, end_ - (window - 1));
  return all;
}

torch::Tensor GrowingHeads::kept_BKSC() const {
  return room_BKSC_.defined() ? room_BKSC_.narrow(2, begin_, end_ - begin_) : torch::Tensor();
}

void GrowingHeads::select(const torch::Tensor& row_N) {
  if (room_BKSC_.defined()) room_BKSC_ = room_BKSC_.index_select(0, row_N);
}

void KeyValueCache::select(const torch::Tensor& row_N) {
  for (auto* heads : {&key, &value}) {
    for (auto& of_layer : *heads) of_layer.select(row_N);
  }
  for (auto* tensors : {&memory_key_BHSD, &memory_value_BHSD}) {
    for (auto& tensor : *tensors) {
      if (tensor.defined()) tensor = tensor.index_select(0, row_N);
    }
  }
}

}  // namespace evomoe
