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
