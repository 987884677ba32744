#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/models/attention.h"
#include "evomoe/models/feed_forward.h"
#include "evomoe/models/forward_context.h"
#include "evomoe/moe/moe_layer.h"

namespace evomoe {

struct DecoderBlockOptions {
  AttentionOptions attention;
  FeedForwardOptions feed_forward;
  std::optional<MoELayerOptions> moe;  ///< an MoE layer in place of the dense feed-forward block
  double dropout = 0.0;                ///< after attention
  int64_t layer = 0;
};

struct BlockOutput {
  torch::Tensor x_BSD;
  std::vector<RouterLoss> losses;    ///< empty for a dense block
  std::optional<RouterStats> stats;  ///< nothing for a dense block
};

/// A pre-LN decoder block (reference/evomoe.md section 7.5): x += drop(SA(LN(x))); x +=
/// FFN-or-MoE(LN(x)).
class DecoderBlockImpl : public torch::nn::Module {
 public:
  explicit DecoderBlockImpl(const DecoderBlockOptions& options);
  BlockOutput forward(const torch::Tensor& x_BSD, const ForwardContext& context);
  void initialise(uint64_t seed, const std::string& name);
  /// The MoE layer, or nothing for a dense block.
  MoELayer moe_layer() const { return moe_layer_; }

 private:
  DecoderBlockOptions options_;
  SelfAttention self_attn_{nullptr};
  torch::nn::LayerNorm self_attn_layer_norm_{nullptr};
  std::optional<FeedForward> feed_forward_;
  MoELayer moe_layer_{nullptr};
  torch::nn::LayerNorm final_layer_norm_{nullptr};
};
TORCH_MODULE(DecoderBlock);

}  // namespace evomoe
