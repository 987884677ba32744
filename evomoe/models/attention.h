#pragma once

#include <torch/torch.h>

#include "evomoe/models/forward_context.h"

namespace evomoe {

struct AttentionOptions {
  int64_t embed_dim = 512;
  int64_t heads = 8;
  double dropout = 0.0;  ///< on the attention probabilities
  int64_t layer = 0;

  /// Throws UsageError for a number of heads that does not divide the width, or is too large.
  void validate() const;
};

/// Causal multi-head self-attention with separate q, k, v and output projections (Vaswani et al.
/// 2017, section 3.2).
class SelfAttentionImpl : public torch::nn::Module {
 public:
  explicit SelfAttentionImpl(const AttentionOptions& options);

  /// x_BSD [B,S,D] -> [B,S,D]. Padding (context.padding_BS) is never attended to. With a cache, x
  /// holds the new tokens only.
  torch::Tensor forward(const torch::Tensor& x_BSD, const ForwardContext& context);

  /// q/k/v: Xavier uniform with gain 1/sqrt(2); output: Xavier uniform, bias 0.
  void initialise(uint64_t seed, const std::string& name);

 private:
  torch::Tensor attend(const torch::Tensor& q_BHSD, const torch::Tensor& k_BHSD,
                       const torch::Tensor& v_BHSD, const ForwardContext& context);

  AttentionOptions options_;
  torch::nn::Linear k_proj{nullptr}, v_proj{nullptr}, q_proj{nullptr}, out_proj{nullptr};
};
TORCH_MODULE(SelfAttention);

}  // namespace evomoe
