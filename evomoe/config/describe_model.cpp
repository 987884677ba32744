// What is trained: task, Transformer, criterion.
#include <fmt/format.h>

#include "evomoe/config/architectures.h"
#include "evomoe/config/describe_groups.h"
#include "evomoe/config/task_declaration.h"

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

void describe_task(OptionTable& table, TaskOptions& o, const std::string& arch) {
  table.group("task", "Task");
  table.add("task", &o.task, "What is trained for; not given: the task of the architecture.")
      .default_from([&arch] { return family_declaration(find_architecture(arch).family).task; })
      .choices(task_names());
  table.for_tasks(tasks_where([](const TaskDeclaration& task) { return task.samples; }));
  table.add("tokens-per-sample", &o.tokens_per_sample, "Longest sequence, in tokens.")
      .range(1, 1 << 20);
  table.for_tasks(tasks_where([](const TaskDeclaration& task) { return task.blocks; }));
  table
      .add("sample-break-mode", &o.sample_break_mode,
           "How the text is cut into sequences: at any token, at sentence ends, at sentence ends "
           "within a document, "
           "or one sentence each.")
      .choices({"none", "complete", "complete_doc", "eos"});
  for (const auto& task : task_declarations()) {
    table.for_tasks({task.name});
    task.describe(table, o);
  }
}

void describe_model(OptionTable& table, ModelOptions& o) {
  table.group("model", "Model (what is not given follows from the architecture)");
  table.add("arch", &o.arch, "Architecture, e.g. transformer_lm_gptsmall_moe.")
      .alias("a")
      .choices(architecture_names());
  table
      .add("activation-fn", &o.activation_fn,
           "Activation of feed-forward blocks and experts; gelu_accurate and gelu_fast are "
           "gelu_tanh, swish is silu.")
      .choices({"relu", "gelu", "gelu_tanh", "silu"})
      .synonyms({{"gelu_accurate", "gelu_tanh"}, {"gelu_fast", "gelu_tanh"}, {"swish", "silu"}})
      .unsupported({"tanh", "linear"}, "use relu or gelu");
  table.add("dropout", &o.dropout, "Dropout of embeddings and residuals.").range(0, 1);
  table.add("attention-dropout", &o.attention_dropout, "Dropout of attention probabilities.")
      .range(0, 1);
  table.add("activation-dropout", &o.activation_dropout, "Dropout after the activation.")
      .alias("relu-dropout")
      .range(0, 1);
  table.add("no-token-positional-embeddings", &o.no_token_positional_embeddings,
            "No positions at all.");
  table.add("no-scale-embedding", &o.no_scale_embedding,
            "Embeddings are not multiplied by the root of the width.");
  table.add("layernorm-embedding", &o.layernorm_embedding, "Layer norm after the embeddings.");
  table.add("checkpoint-activations", &o.checkpoint_activations,
            "Recomputes each layer in the backward pass instead of keeping its activations.");
  describe_decoder(table, o);
  describe_encoder(table, o);
  const auto& families = family_declarations();
  for (auto at = families.rbegin(); at != families.rend(); ++at) {
    const auto& name = (*at)->name;
    table.for_tasks(
        tasks_of_families([&](const FamilyDeclaration& family) { return family.name == name; }));
    (*at)->describe(table, o);
  }
}

void describe_validate_routing(OptionTable& table, std::string& validate_routing) {
  table
      .add("validate-routing", &validate_routing,
           "How validation routes: as the reference (the most probable expert, no noise), as the "
           "current stage does, or "
           "both, one after the other.")
      .choices({"reference", "stage", "both"});
}

void describe_criterion(OptionTable& table, CriterionOptions& o) {
  table.group("criterion", "Criterion");
  table
      .add("criterion", &o.criterion,
           "What is minimised: moe_... adds the routers' balance loss, ..._gumbel logs the experts "
           "used.")
      .choices({"cross_entropy", "moe_cross_entropy", "cross_entropy_gumbel", "masked_lm",
                "moe_masked_lm", "masked_lm_gumbel", "label_smoothed_cross_entropy",
                "moe_label_smoothed_cross_entropy", "sentence_prediction", "adaptive_loss"});
  table
      .add("label-smoothing", &o.label_smoothing,
           "label_smoothed_cross_entropy: share of probability given to all tokens alike.")
      .range(0, 1);
  table.add("report-accuracy", &o.report_accuracy,
            "label_smoothed_cross_entropy: logs the share of tokens that are predicted "
            "correctly.");
  table
      .add("ignore-prefix-size", &o.ignore_prefix_size,
           "label_smoothed_cross_entropy: first tokens of a target that are not scored.")
      .at_least(0);
  table.add("sentence-avg", &o.sentence_avg,
            "Losses are divided by the number of sentences, not of tokens.");
  table.add("moe-gate-loss-wt", &o.moe_gate_loss_wt, "Weight of the balance loss.").at_least(0);
  table
      .add("moe-gate-loss-combine-method", &o.moe_gate_loss_combine_method,
           "How the balance "
           "losses of the MoE "
           "layers are "
           "combined.")
      .choices({"average", "sum"});
  table.add("moe-gate-loss-transform", &o.moe_gate_loss_transform, "Applied to the balance loss.")
      .choices({"none", "neg_log"});
  table
      .add("moe-z-loss-wt", &o.moe_z_loss_wt,
           "Weight of the router z-loss, which keeps the logits small.")
      .at_least(0);
  table.for_tasks(tasks_of_criterion("sentence_prediction"));
  table.add("regression-target", &o.regression_target,
            "Predicts a number for each row (label/SPLIT.label, one a line) and minimises the "
            "squared error.");
}

}  // namespace evomoe
