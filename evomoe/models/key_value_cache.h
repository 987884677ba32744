#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace evomoe {

/// Heads of the tokens so far, to which those of later tokens are appended. There is room for some
/// of them, so that the ones before are seldom copied.
class GrowingHeads {
 public:
  /// All that is kept with x_BKSC [B,K,S,C] behind it, as a view that the next call may overwrite.
  /// Of a `window` above 0 no more is kept afterwards than a later token sees, the last window - 1.
  /// Without gradients.
  torch::Tensor append(const torch::Tensor& x_BKSC, int64_t window = 0);

  /// [B,K,S,C]; undefined before the first token.
  torch::Tensor kept_BKSC() const;

  /// The sequences become those of the rows row_N (int64 [N]), which may repeat.
  void select(const torch::Tensor& row_N);

 private:
  torch::Tensor room_BKSC_;  ///< of which tokens begin_ to end_ are kept
  int64_t begin_ = 0, end_ = 0;
};

/// Keys and values of the tokens seen so far, one entry a layer; makes the cost of a generated
/// token independent of recomputing the tokens before it.
struct KeyValueCache {
  std::vector<GrowingHeads> key, value;
  std::vector<torch::Tensor> memory_key_BHSD, memory_value_BHSD;  ///< of an encoder's output
  int64_t length = 0;                                             ///< tokens in the cache

  /// Its sequences become those of the rows row_N (int64 [N]) of before, which may repeat.
  void select(const torch::Tensor& row_N);
};

}  // namespace evomoe
