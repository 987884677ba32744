#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/models/attention.h"
#include "evomoe/models/feed_forward.h"
#include "evomoe/models/forward_context.h"
#include "evomoe/models/norm.h"
#include "evomoe/moe/moe_layer.h"

namespace evomoe {

struct TransformerBlockOptions {
  AttentionOptions attention;
  bool cross_attention = false;  ///< between self-attention and feed-forward: attends to a memory
  FeedForwardOptions feed_forward;
  /// An MoE layer in place of the dense feed-forward block; beside it, where that has a hidden dim:
  /// a shared expert, whose output is added to that of the routed ones.
  std::optional<MoELayerOptions> moe;
  double dropout = 0.0;  ///< after attention
  NormOptions norm;
  bool norm_first = true;  ///< pre-LN, x + f(norm(x)); else post-LN, norm(x + f(x))
  int64_t layer = 0;       ///< among all layers of the model
};

struct BlockOutput {
  torch::Tensor x_BSD;
  std::vector<RouterLoss> losses;    ///< empty for a dense block
  std::optional<RouterStats> stats;  ///< nothing for a dense block
};

/// Is told when a block computes, so that its parameters need to be there only then.
class BlockWatcher {
 public:
  virtual ~BlockWatcher() = default;
  virtual void before_forward() = 0;
  virtual void after_forward() = 0;
  virtual void before_backward() = 0;
};

/// A Transformer block of an encoder or decoder (docs/reference.md section 7.5): self-attention,
/// attention to an encoder where there is one, feed-forward or MoE, each with its residual and
/// norm.
class TransformerBlockImpl : public torch::nn::Module {
 public:
  explicit TransformerBlockImpl(const TransformerBlockOptions& options);
  /// `memory` must be given exactly when the block has cross-attention.
  BlockOutput forward(const torch::Tensor& x_BSD, const ForwardContext& context,
                      const Memory* memory = nullptr);
  void initialise(uint64_t seed, const std::string& name);
  /// `watcher` must live as long as the block computes; null: none.
  void set_watcher(BlockWatcher* watcher) { watcher_ = watcher; }
  /// The MoE layer, or nothing for a dense block.
  MoELayer moe_layer() const { return moe_layer_; }
  const TransformerBlockOptions& options() const { return options_; }

 private:
  /// x + dropout(branch(x)) with the norm where the options have it.
  torch::Tensor attended(const torch::Tensor& x_BSD, Attention& attention, Norm& norm,
                         const ForwardContext& context, const Memory* memory);
  BlockOutput compute(const torch::Tensor& x_BSD, const ForwardContext& context,
                      const Memory* memory);

  TransformerBlockOptions options_;
  BlockWatcher* watcher_ = nullptr;
  Attention self_attn_{nullptr};
  Norm self_attn_layer_norm_{nullptr};
  Attention encoder_attn_{nullptr};
  Norm encoder_attn_layer_norm_{nullptr};
  std::optional<FeedForward> feed_forward_;
  MoELayer moe_layer_{nullptr};
  Norm final_layer_norm_{nullptr};
};
TORCH_MODULE(TransformerBlock);

}  // namespace evomoe
