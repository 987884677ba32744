#include "evomoe/train/architecture.h"

#include <fmt/format.h>

#include "evomoe/config/option_table.h"
#include "evomoe/train/model_family.h"
#include "evomoe/train/task.h"

namespace evomoe {

namespace {

/// `half`: encoder or decoder.
void describe_half(OptionTable& table, const std::string& half, HalfOptions& o) {
  table.add(half + "-layers", &o.layers, fmt::format("Number of {} layers.", half)).at_least(1);
  table.add(half + "-embed-dim", &o.embed_dim, fmt::format("Width of the {}.", half)).at_least(1);
  table
      .add(half + "-ffn-embed-dim", &o.ffn_embed_dim,
           fmt::format("Hidden width of the {}'s feed-forward blocks and experts.", half))
      .at_least(1);
  table
      .add(half + "-attention-heads", &o.attention_heads,
           fmt::format("Attention heads of the {}.", half))
      .at_least(1);
  table.add(half + "-learned-pos", &o.learned_pos,
            fmt::format("Learned instead of sinusoidal positions of the {}.", half));
}

void describe_decoder(OptionTable& table, ModelOptions& o) {
  table.for_tasks(decoder_tasks());
  describe_half(table, "decoder", o.decoder);
  table.add("decoder-normalize-before", &o.decoder.normalize_before,
            "Layer norm before each block of the decoder, not after it; language models always "
            "have it there.");
  table.add("share-decoder-input-output-embed", &o.share_decoder_input_output_embed,
            "One matrix for the decoder's input and output embeddings.");
  table.add("no-decoder-final-norm", &o.no_decoder_final_norm,
            "No layer norm after the decoder's last layer.");
  table
      .add("max-target-positions", &o.max_target_positions,
           "Positions of the decoder; not given: tokens-per-sample, in translation 1024.")
      .range(1, 1 << 20);
}

void describe_encoder(OptionTable& table, ModelOptions& o) {
  table.for_tasks(encoder_tasks());
  describe_half(table, "encoder", o.encoder);
  table.add("encoder-normalize-before", &o.encoder.normalize_before,
            "Layer norm before each block of the encoder, not after it.");
}

}  // namespace

void DecoderFormOptions::describe(OptionTable& table) {
  table.add("decoder-norm", &norm, "What the norms of the decoder are.")
      .choices({"layer_norm", "rms_norm"});
  table.add("norm-eps", &norm_eps, "What the decoder's norms add before they take the root.")
      .above(0);
  table.add("decoder-rotary-pos", &rotary_pos,
            "Rotary positions of the decoder (arXiv 2104.09864, pairs of numbers half a head "
            "apart).");
  table.add("rotary-base", &rotary_base, "Rotary positions: base of the frequencies.").above(0);
  table
      .add("rotary-scaling", &rotary_scaling,
           "Rotary positions: how frequencies are lowered for longer sequences, as transformers "
           "names it: not at all, divided by --rotary-factor, or as Llama 3 does.")
      .choices({"default", "linear", "llama3"});
  table.add("rotary-factor", &rotary_factor, "Rotary scaling: what frequencies are divided by.")
      .above(0);
  table
      .add("rotary-low-factor", &rotary_low_factor,
           "Rotary scaling llama3: frequencies of fewer turns in --rotary-original-positions are "
           "divided by the whole factor.")
      .above(0);
  table
      .add("rotary-high-factor", &rotary_high_factor,
           "Rotary scaling llama3: frequencies of more turns stay as they are.")
      .above(0);
  table
      .add("rotary-original-positions", &rotary_original_positions,
           "Rotary scaling llama3: positions that the model was first trained with.")
      .at_least(1);
  table.add("gated-ffn", &gated_ffn,
            "Feed-forward blocks and experts multiply their activation by a second projection: "
            "SwiGLU with --activation-fn silu, GEGLU with gelu (arXiv 2002.05202).");
  table.add("no-ffn-bias", &no_ffn_bias, "Feed-forward blocks and experts have no biases.");
  table
      .add("attention-bias", &attention_bias,
           "Which projections of attention have biases: all, those of queries, keys and values, or "
           "none.")
      .choices({"all", "qkv", "none"});
  table
      .add("decoder-kv-heads", &kv_heads,
           "Heads of keys and values, each of which serves several attention heads "
           "(grouped-query attention, arXiv 2305.13245); not given: --decoder-attention-heads.")
      .at_least(1);
  table
      .add("decoder-head-dim", &head_dim,
           "Width of an attention head; not given: --decoder-embed-dim / "
           "--decoder-attention-heads.")
      .at_least(1);
  table
      .add("query-key-norm", &query_key_norm,
           "A norm of queries and keys before positions: none, one of all heads together (OLMoE), "
           "or of each head (Qwen3).")
      .choices({"none", "width", "head"});
  table
      .add("sliding-window", &sliding_window,
           "A token attends to the last so many tokens, itself among them; 0: to all before it.")
      .at_least(0);
}

DecoderForm DecoderFormOptions::applied_to(DecoderForm form) const {
  form.norm = norm.value_or(form.norm);
  form.norm_eps = norm_eps.value_or(form.norm_eps);
  auto& rotary = form.rotary;
  rotary.base = rotary_base.value_or(rotary.base);
  rotary.scaling = rotary_scaling.value_or(rotary.scaling);
  if (rotary_scaling == "default") rotary.factor = 1;
  rotary.factor = rotary_factor.value_or(rotary.factor);
  rotary.low_factor = rotary_low_factor.value_or(rotary.low_factor);
  rotary.high_factor = rotary_high_factor.value_or(rotary.high_factor);
  rotary.original_positions = rotary_original_positions.value_or(rotary.original_positions);
  form.gated_ffn = gated_ffn.value_or(form.gated_ffn);
  form.ffn_bias = no_ffn_bias ? !*no_ffn_bias : form.ffn_bias;
  form.attention_bias = attention_bias.value_or(form.attention_bias);
  form.query_key_norm = query_key_norm.value_or(form.query_key_norm);
  form.kv_heads = kv_heads.value_or(form.kv_heads);
  form.head_dim = head_dim.value_or(form.head_dim);
  form.sliding_window = sliding_window.value_or(form.sliding_window);
  return form;
}

void ModelOptions::describe(OptionTable& table) {
  table.group("model", "Model (what is not given follows from the architecture)");
  table.add("arch", &arch, "Architecture, e.g. transformer_lm_gptsmall_moe.")
      .alias("a")
      .choices(architecture_names());
  table
      .add("activation-fn", &activation_fn,
           "Activation of feed-forward blocks and experts; gelu_accurate and gelu_fast are "
           "gelu_tanh, swish is silu.")
      .choices({"relu", "gelu", "gelu_tanh", "silu"})
      .synonyms({{"gelu_accurate", "gelu_tanh"}, {"gelu_fast", "gelu_tanh"}, {"swish", "silu"}})
      .unsupported({"tanh", "linear"}, "use relu or gelu");
  table.add("dropout", &dropout, "Dropout of embeddings and residuals.").range(0, 1);
  table.add("attention-dropout", &attention_dropout, "Dropout of attention probabilities.")
      .range(0, 1);
  table.add("activation-dropout", &activation_dropout, "Dropout after the activation.")
      .alias("relu-dropout")
      .range(0, 1);
  table.add("no-token-positional-embeddings", &no_token_positional_embeddings,
            "No positions at all.");
  table.add("no-scale-embedding", &no_scale_embedding,
            "Embeddings are not multiplied by the root of the width.");
  table.add("layernorm-embedding", &layernorm_embedding, "Layer norm after the embeddings.");
  table.add("checkpoint-activations", &checkpoint_activations,
            "Recomputes each layer in the backward pass instead of keeping its activations.");
  describe_decoder(table, *this);
  describe_encoder(table, *this);
  const auto& all = families();
  for (auto at = all.rbegin(); at != all.rend(); ++at) {
    const auto& name = (*at)->declaration().name;
    table.for_tasks(
        tasks_of_families([&](const FamilyDeclaration& family) { return family.name == name; }));
    (*at)->describe(table, *this);
  }
}

}  // namespace evomoe
