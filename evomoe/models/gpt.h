#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/models/decoder_block.h"
#include "evomoe/models/forward_context.h"

namespace evomoe {

/// Options of the decoder-only Transformer language model (reference/evomoe.md sections 7.2
/// and 7.5).
struct GptOptions {
  int64_t vocab_size = 0;
  int64_t padding_index = 1;
  int64_t layers = 6;
  int64_t embed_dim = 512;
  int64_t ffn_dim = 2048;
  int64_t heads = 8;
  int64_t max_positions = 1024;  ///< longest sequence
  std::string activation = "relu";
  double dropout = 0.1;
  double attention_dropout = 0.0;
  double activation_dropout = 0.0;
  bool learned_positions = false;
  bool no_positions = false;
  bool tie_embeddings = false;
  bool scale_embedding = true;  ///< multiply embeddings by sqrt(embed_dim)
  bool final_norm = true;
  bool checkpoint_activations = false;
  int64_t moe_freq = 0;  ///< layer i (from 0) is MoE iff (i+1) % moe_freq == 0; 0: dense
  int64_t dense_ffn_dim_of_moe_layers =
      0;  ///< > 0: those layers are dense with this width ("pseudo MoE")
  MoELayerOptions
      moe;  ///< of the MoE layers; its model dim, hidden dim and dropouts follow from the above

  /// Throws UsageError naming flag, value and what is allowed; the vocabulary is not looked at.
  void validate() const;
};

struct GptOutput {
  torch::Tensor x_BSD;                                 ///< features before the output projection
  std::vector<std::vector<RouterLoss>> losses;         ///< one entry per MoE layer
  std::vector<std::pair<int64_t, RouterStats>> stats;  ///< (layer, what its router did)
};

/// GPT with dense or MoE feed-forward blocks. Parameter names are the reference's, but for the
/// experts, which are stacked.
class GptImpl : public torch::nn::Module {
 public:
  explicit GptImpl(const GptOptions& options);

  /// token_BS int64 [B,S] right-padded. `context.padding_BS` must mark the padding, if there is
  /// any.
  GptOutput forward(const torch::Tensor& token_BS, const ForwardContext& context);

  /// The output projection [V,D]: logits = x . output_weight^T.
  const torch::Tensor& output_weight() const;

  /// Sets all parameters from the seed (section 7.5's initialisation). Before that or loading, the
  /// values of the experts are undefined and embeddings are zero.
  void initialise(uint64_t seed);

  /// (layer, MoE layer) of the MoE layers, in order.
  std::vector<std::pair<int64_t, MoELayer>> moe_layers() const;

  /// Floating-point operations that are executed for one training token, when each MoE layer
  /// computes `assignments_per_token` experts for it on average, at sequence length S: 2 x (3 x the
  /// multiply-adds of the forward pass + those that --checkpoint-activations and
  /// --recompute-experts make again). Matrix products only; the gate counts from the spawn on.
  double training_flops_per_token(double assignments_per_token, int64_t sequence_length) const;

  const GptOptions& options() const { return options_; }

 private:
  torch::Tensor embed(const torch::Tensor& token_BS, const ForwardContext& context);

  GptOptions options_;
  torch::Tensor embed_tokens_;       // [V,D]
  torch::Tensor embed_positions_;    // [max_positions + padding + 1, D]: parameter when learned,
                                     // constant table otherwise
  torch::Tensor output_projection_;  // [V,D] when not tied
  std::vector<DecoderBlock> blocks_;
  torch::nn::LayerNorm final_norm_{nullptr};
};
TORCH_MODULE(Gpt);

}  // namespace evomoe
