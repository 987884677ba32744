#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/base/position_kind.h"
#include "evomoe/models/positions.h"

namespace evomoe {

class OptionTable;

/// What today's decoders have beside the reference's, with the values of the reference's. A field
/// is the option of the same name (TransformerStackOptions says what each means).
struct DecoderForm {
  std::string norm = "layer_norm";  ///< | rms_norm
  double norm_eps = 1e-5;
  RotaryOptions rotary;  ///< where positions are rotary
  bool gated_ffn = false, ffn_bias = true;
  std::string attention_bias = "all", query_key_norm = "none";
  int64_t kv_heads = 0, head_dim = 0, sliding_window = 0;
};

/// What a `--arch` name stands for (docs/reference.md sections 7.2 to 7.4). The two halves of an
/// encoder-decoder have the same dimensions.
struct Architecture {
  std::string name;
  std::string family = {};  ///< its FamilyDeclaration's name
  int layers = 6;
  int embed_dim = 512;
  int ffn_dim = 2048;
  int heads = 8;
  std::string activation = "relu";
  PositionKind positions = PositionKind::kSinusoidal;
  double dropout = 0.1;
  double attention_dropout = 0.0;
  double activation_dropout = 0.0;
  bool tied = false;                  ///< forces tied input and output embeddings
  bool norm_first = true;             ///< pre-LN
  bool embedding_norm = false;        ///< a layer norm on the embeddings
  bool final_norm = true;             ///< with pre-LN: a layer norm after the last layer
  std::vector<int64_t> cutoffs = {};  ///< of adaptive input and softmax; empty: neither
  double adaptive_softmax_dropout = 0.0;
  bool scale_embedding = true;  ///< embeddings are multiplied by the root of the width
  DecoderForm form = {};
  /// Values of options of routing, where they are not given: {"moe-k", 2}.
  std::vector<std::pair<std::string, nlohmann::json>> moe = {};
};

/// What is given of a DecoderForm. An empty optional means "as the architecture says".
struct DecoderFormOptions {
  std::optional<std::string> norm;
  std::optional<double> norm_eps;
  std::optional<bool> rotary_pos;
  std::optional<double> rotary_base;
  std::optional<std::string> rotary_scaling;
  std::optional<double> rotary_factor, rotary_low_factor, rotary_high_factor;
  std::optional<int64_t> rotary_original_positions;
  std::optional<bool> gated_ffn, no_ffn_bias;
  std::optional<std::string> attention_bias, query_key_norm;
  std::optional<int64_t> kv_heads, head_dim, sliding_window;

  void describe(OptionTable& table);
  /// `architecture` with what is given.
  DecoderForm applied_to(DecoderForm architecture) const;
};

/// An encoder or a decoder: `--encoder-layers` is encoder.layers. An empty optional means "as the
/// architecture says".
struct HalfOptions {
  std::optional<int64_t> layers, embed_dim, ffn_embed_dim, attention_heads;
  std::optional<bool> normalize_before, learned_pos;
};

/// The Transformer. An empty optional means "as the architecture says".
struct ModelOptions {
  std::string arch = "transformer_lm";
  HalfOptions encoder, decoder;
  DecoderFormOptions form;  ///< of language models
  std::optional<bool> share_all_embeddings;
  std::optional<bool> layernorm_embedding;
  std::optional<std::string> pooler_activation_fn;  ///< RoBERTa's classification head
  std::optional<double> pooler_dropout;
  bool untie_weights_roberta = false;
  bool adaptive_input = false;
  std::optional<std::vector<int64_t>> adaptive_input_cutoff;
  std::optional<double> adaptive_input_factor;
  std::optional<std::vector<int64_t>> adaptive_softmax_cutoff;
  std::optional<double> adaptive_softmax_dropout;
  std::optional<double> adaptive_softmax_factor;
  bool tie_adaptive_weights = false;
  bool tie_adaptive_proj = false;
  std::optional<std::string> activation_fn;
  std::optional<double> dropout;
  std::optional<double> attention_dropout;
  std::optional<double> activation_dropout;
  std::optional<bool> no_token_positional_embeddings;
  std::optional<bool> no_scale_embedding;
  std::optional<bool> share_decoder_input_output_embed;
  std::optional<bool> no_decoder_final_norm;
  std::optional<int64_t> max_target_positions;  ///< not given: tokens_per_sample; translation: 1024
  std::optional<int64_t> max_source_positions;  ///< translation; not given: 1024
  std::optional<int64_t> max_positions;         ///< RoBERTa; not given: 512
  bool checkpoint_activations = false;

  void describe(OptionTable& table);
};

}  // namespace evomoe
