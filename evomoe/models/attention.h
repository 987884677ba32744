#pragma once

#include <torch/torch.h>

#include <string>

#include "evomoe/models/forward_context.h"

namespace evomoe {

struct AttentionOptions {
  int64_t embed_dim = 512;
  int64_t heads = 8;
  double dropout = 0.0;  ///< on the attention probabilities
  int64_t layer = 0;
  bool causal = true;            ///< self-attention: a token sees those before it and itself only
  bool cross = false;            ///< keys and values come from another sequence
  std::string half = "decoder";  ///< of the model, for messages: decoder or encoder

  /// Throws UsageError for a number of heads that does not divide the width, or is too large.
  void validate() const;
};

/// What cross-attention reads: the encoder's output.
struct Memory {
  torch::Tensor x_BSD;
  torch::Tensor padding_BS;  ///< bool, true = padding; undefined when no token is padding
};

/// [B,1,S,S], what is added to the scores of the queries of rows with segments
/// (ForwardContext::segment_BS): 0 for the keys that are attended to, minus infinity for others.
/// Padding is a segment like any other, so that no query is left without a key.
torch::Tensor segment_mask(const torch::Tensor& segment_BS, bool causal, torch::ScalarType type);

/// Multi-head attention with separate q, k, v and output projections (Vaswani et al. 2017, section
/// 3.2): causal or bidirectional self-attention, or attention to an encoder's output.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const AttentionOptions& options);

  /// x_BSD [B,S,D] -> [B,S,D]. Padding (self: context.padding_BS; cross: that of the memory) is
  /// never attended to by what is none; nor, in self-attention, are other sequences of the row
  /// (context.segment_mask_B1SS). With a cache, x holds the new tokens only, and the memory's keys
  /// and values are made once. Self-attention turns queries and keys by context.rotation, if there
  /// is one; a cache holds turned keys. `memory` must be given exactly when the options say
  /// `cross`.
  torch::Tensor forward(const torch::Tensor& x_BSD, const ForwardContext& context,
                        const Memory* memory = nullptr);

  /// q/k/v: Xavier uniform with gain 1/sqrt(2); output: Xavier uniform, bias 0.
  void initialise(uint64_t seed, const std::string& name);

 private:
  /// Keys and values [B,H,S,D/H] that the queries meet.
  std::pair<torch::Tensor, torch::Tensor> keys_and_values(const torch::Tensor& x_BSD,
                                                          const ForwardContext& context,
                                                          const Memory* memory);
  torch::Tensor attend(const torch::Tensor& q_BHSD, const torch::Tensor& k_BHSD,
                       const torch::Tensor& v_BHSD, const torch::Tensor& key_padding_BS,
                       const ForwardContext& context);
  torch::Tensor split_heads(const torch::Tensor& x_BSD) const;

  AttentionOptions options_;
  torch::nn::Linear k_proj{nullptr}, v_proj{nullptr}, q_proj{nullptr}, out_proj{nullptr};
};
TORCH_MODULE(Attention);

}  // namespace evomoe
