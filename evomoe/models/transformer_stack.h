#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/base/position_kind.h"
#include "evomoe/models/adaptive_input.h"
#include "evomoe/models/forward_context.h"
#include "evomoe/models/positions.h"
#include "evomoe/models/transformer_block.h"

namespace evomoe {

/// UsageError with the flag unless 0 <= value < 1.
void check_dropout(const char* flag, double value);

/// Options of an encoder or a decoder (docs/reference.md sections 7.2 to 7.5).
struct TransformerStackOptions {
  int64_t vocab_size = 0;
  int64_t padding_index = 1;
  int64_t layers = 6;
  int64_t embed_dim = 512;
  int64_t ffn_dim = 2048;
  int64_t heads = 8;
  // Of self-attention, as AttentionOptions has them.
  int64_t kv_heads = 0, head_dim = 0, window = 0;
  std::string attention_bias = "all", query_key_norm = "none";
  bool gated = false;    ///< dense blocks, as FeedForwardOptions has it; of experts: moe.gated
  bool ffn_bias = true;  ///< of dense blocks; of experts: moe.biases
  int64_t max_positions = 1024;  ///< longest sequence, where there is a table of positions
  std::string activation = "relu";
  double dropout = 0.1;
  double attention_dropout = 0.0;
  double activation_dropout = 0.0;
  bool causal = true;            ///< a token sees those before it only
  bool cross_attention = false;  ///< each block attends to an encoder's output
  NormOptions norm;              ///< of every norm
  bool norm_first = true;        ///< pre-LN; else post-LN
  bool embedding_norm = false;   ///< a norm on the embeddings
  bool final_norm = true;        ///< a norm after the last block
  AdaptiveBands adaptive_input;  ///< of the embeddings; no bands: one table
  PositionKind positions = PositionKind::kSinusoidal;
  RotaryOptions rotary;
  bool scale_embedding = true;  ///< multiply embeddings by sqrt(embed_dim)
  /// Encoders: the embeddings of padding become zero. It stays so only until the first block.
  bool zero_padding = false;
  bool checkpoint_activations = false;
  int64_t moe_freq = 0;            ///< layer i (from 0) is MoE iff (i+1) % moe_freq == 0; 0: dense
  int64_t first_dense_layers = 0;  ///< the first so many layers are dense all the same
  int64_t dense_ffn_dim_of_moe_layers =
      0;  ///< > 0: those layers are dense with this width ("pseudo MoE")
  /// Of the MoE layers; its model dim and dropouts follow from the above, as does its hidden dim
  /// where that is 0.
  MoELayerOptions moe;
  int64_t shared_expert_dim = 0;  ///< > 0: a dense block of this width beside their experts
  int64_t first_layer = 0;        ///< number of the first block among all layers of the model
  std::string half = "decoder";   ///< encoder or decoder, for messages

  /// Throws UsageError naming flag, value and what is allowed; the vocabulary is not looked at.
  void validate() const;
  /// Whether a layer is MoE, or dense in the place of one.
  bool is_moe_place(int64_t layer) const {
    return moe_freq > 0 && layer >= first_dense_layers && (layer + 1) % moe_freq == 0;
  }
  bool is_moe(int64_t layer) const {
    return dense_ffn_dim_of_moe_layers == 0 && is_moe_place(layer);
  }
  /// Hidden width of an expert.
  int64_t expert_dim() const { return moe.hidden_dim > 0 ? moe.hidden_dim : ffn_dim; }
  /// Hidden width of a layer's dense block, which an MoE layer has beside its experts; 0: none.
  int64_t dense_ffn_dim(int64_t layer) const {
    if (is_moe(layer)) return shared_expert_dim;
    return dense_ffn_dim_of_moe_layers > 0 && is_moe_place(layer) ? dense_ffn_dim_of_moe_layers
                                                                  : ffn_dim;
  }
  /// Of that block.
  ExpertForm dense_form(int64_t layer) const {
    return {.experts = 1,
            .model_dim = embed_dim,
            .hidden_dim = dense_ffn_dim(layer),
            .gated = gated,
            .biases = ffn_bias};
  }
  /// Self-attention of a layer.
  AttentionOptions attention(int64_t layer = 0) const;
};

struct StackOutput {
  torch::Tensor x_BSD;
  std::vector<std::vector<RouterLoss>> losses;         ///< one entry per MoE layer
  std::vector<std::pair<int64_t, RouterStats>> stats;  ///< (layer, what its router did)
};

/// Embeddings, blocks and the last norm of an encoder or a decoder. Parameter names are the
/// reference's (embed_tokens, embed_positions, layernorm_embedding, layers, layer_norm), but for
/// the experts, which are stacked.
class TransformerStackImpl : public torch::nn::Module {
 public:
  /// `embedding`: a table [V,D] that belongs to another stack; undefined: one of its own.
  explicit TransformerStackImpl(const TransformerStackOptions& options,
                                torch::Tensor embedding = {});

  /// token_BS int64 [B,S]. `context.padding_BS` must mark the padding, if there is any; `memory`
  /// must be given exactly when the blocks have cross-attention.
  StackOutput forward(const torch::Tensor& token_BS, const ForwardContext& context,
                      const Memory* memory = nullptr);

  /// Sets all parameters from the seed (docs/reference.md section 7.5) under the keys `name`.*.
  void initialise(uint64_t seed, const std::string& name);

  /// The table [V,D] that it looks up. `tied`: the output projection uses it as well, so its
  /// gradient exists before that of the lookup and is added to in place.
  const torch::Tensor& embedding() const { return embed_tokens_; }
  const AdaptiveInput& adaptive_input() const { return adaptive_input_; }  ///< null: not used
  void set_tied() { tied_ = true; }

  /// (layer, MoE layer) of the MoE layers, in order.
  std::vector<std::pair<int64_t, MoELayer>> moe_layers() const;

  /// Multiply-adds of the forward pass for `tokens` tokens in sequences of `length`, and those that
  /// --checkpoint-activations and --recompute-experts make again. `stats` tells how many
  /// assignments the MoE layers computed; `memory_length`: tokens of the encoder's output that each
  /// sequence meets, of `memory_tokens` in all. Matrix products only; the gate counts from the
  /// spawn on.
  struct Work {
    double forward = 0, recomputed = 0;
  };
  Work work(int64_t tokens, int64_t length,
            const std::vector<std::pair<int64_t, RouterStats>>& stats, int64_t memory_tokens = 0,
            int64_t memory_length = 0) const;

  const TransformerStackOptions& options() const { return options_; }

 private:
  torch::Tensor embed(const torch::Tensor& token_BS, const ForwardContext& context);
  torch::Tensor positions(const torch::Tensor& token_BS, const ForwardContext& context) const;
  BlockOutput run_block(size_t index, const torch::Tensor& x_BSD, const ForwardContext& context,
                        const Memory* memory);

  TransformerStackOptions options_;
  bool own_embedding_ = true;
  bool tied_ = false;
  torch::Tensor embed_tokens_;  // [V,D]; undefined with adaptive input
  AdaptiveInput adaptive_input_{nullptr};
  // [max_positions + padding + 1, D]: a parameter of learned positions, the constant table of
  // sinusoidal ones; else undefined.
  torch::Tensor embed_positions_;
  Norm embedding_norm_{nullptr};
  std::vector<TransformerBlock> blocks_;
  Norm final_norm_{nullptr};
};
TORCH_MODULE(TransformerStack);

}  // namespace evomoe
