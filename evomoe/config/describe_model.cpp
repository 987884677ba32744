// What is trained: task, Transformer, criterion.
#include <fmt/format.h>

#include "evomoe/config/architectures.h"
#include "evomoe/config/describe_groups.h"

namespace evomoe {
namespace {

void describe_masking(OptionTable& table, TaskOptions& o) {
  table.for_tasks({"masked_lm"});
  table.add("mask-prob", &o.mask_prob, "Share of the tokens to predict.").range(0, 1);
  table.add("leave-unmasked-prob", &o.leave_unmasked_prob, "Share of those that stay as they are.")
      .range(0, 1);
  table.add("random-token-prob", &o.random_token_prob, "Share of those that become another token.")
      .range(0, 1);
  table.add("freq-weighted-replacement", &o.freq_weighted_replacement,
            "Those other tokens are drawn by how often they come.");
  table.add("mask-whole-words", &o.mask_whole_words, "Masks all tokens of a word.");
  table
      .add("mask-multiple-length", &o.mask_multiple_length,
           "Tokens in a row that are masked together.")
      .at_least(1);
  table.add("mask-stdev", &o.mask_stdev, "Standard deviation of that length.").at_least(0);
}

void describe_pair(OptionTable& table, TaskOptions& o) {
  table.for_tasks({"translation"});
  table.add("source-lang", &o.source_lang, "Source language; not given: from the files' names.")
      .alias("s")
      .metavar("LANG");
  table.add("target-lang", &o.target_lang, "Target language; not given: from the files' names.")
      .alias("t")
      .metavar("LANG");
  table.add("left-pad-source", &o.left_pad_source, "Pads sources on the left.");
  table.add("left-pad-target", &o.left_pad_target, "Pads targets on the left.");
  table.add("truncate-source", &o.truncate_source, "Cuts sources to max-source-positions.");
  table
      .add("upsample-primary", &o.upsample_primary,
           "Times that train is read beside train1, train2, ...; -1: once.")
      .synonyms({{"-1", "1"}})
      .at_least(1);
  describe_eval_bleu(table, o.bleu);
}

void describe_sentence_prediction(OptionTable& table, TaskOptions& o) {
  table.for_tasks({"sentence_prediction"});
  table
      .add("num-classes", &o.num_classes,
           "Number of classes, which it must be given; --regression-target: 1.")
      .at_least(-1);
  table.add("init-token", &o.init_token, "Index of the token before a row; not given: none.")
      .at_least(0);
  table
      .add("separator-token", &o.separator_token,
           "Index of the token between its sentences; not given: none.")
      .at_least(0);
  table.add("classification-head-name", &o.classification_head_name, "Name of the head.")
      .metavar("NAME");
  table.add("no-shuffle", &o.no_shuffle, "Rows keep their order.");
  table
      .add("shorten-method", &o.shorten_method,
           "What becomes of longer sequences: they stay, are cut, or a random part is taken.")
      .choices({"none", "truncate", "random_crop"});
}

}  // namespace

void describe_task(OptionTable& table, TaskOptions& o, const std::string& arch) {
  table.group("task", "Task");
  table.add("task", &o.task, "What is learned; not given: what the architecture is for.")
      .default_from([&arch] { return task_of_family(find_architecture(arch).family); })
      .choices({"language_modeling", "masked_lm", "translation", "sentence_prediction"});
  table.for_tasks({"language_modeling", "masked_lm"});
  table.add("tokens-per-sample", &o.tokens_per_sample, "Longest sequence, in tokens.")
      .range(1, 1 << 20);
  table
      .add("sample-break-mode", &o.sample_break_mode,
           "How the text is cut into sequences: at any token, at sentence ends, at sentence ends "
           "within a document, "
           "or one sentence each.")
      .choices({"none", "complete", "complete_doc", "eos"});
  table.for_tasks({"language_modeling"});
  table.add("add-bos-token", &o.add_bos_token, "Puts <s> before each sequence.");
  table.add("pad-to-fixed-length", &o.pad_to_fixed_length,
            "Pads each sequence to tokens-per-sample.");
  table.add("pad-to-fixed-bsz", &o.pad_to_fixed_bsz,
            "Pads each micro-batch to batch-size sequences.");
  describe_masking(table, o);
  describe_pair(table, o);
  describe_sentence_prediction(table, o);
}

namespace {

const std::vector<std::string> kRobertaTasks = {"masked_lm", "sentence_prediction"},
                               kEncoderTasks = {"masked_lm", "sentence_prediction", "translation"},
                               kDecoderTasks = {"language_modeling", "translation"};

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
  table.for_tasks(kDecoderTasks);
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
  table.for_tasks(kEncoderTasks);
  describe_half(table, "encoder", o.encoder);
  table.add("encoder-normalize-before", &o.encoder.normalize_before,
            "Layer norm before each block of the encoder, not after it.");
}

void describe_encoder_decoder(OptionTable& table, ModelOptions& o) {
  table.for_tasks({"translation"});
  table.add("share-all-embeddings", &o.share_all_embeddings,
            "One matrix for the embeddings of encoder, decoder and output.");
  table
      .add("max-source-positions", &o.max_source_positions,
           "Positions of the encoder; not given: 1024.")
      .range(1, 1 << 20);
}

void describe_roberta(OptionTable& table, ModelOptions& o) {
  table.for_tasks(kRobertaTasks);
  table
      .add("pooler-activation-fn", &o.pooler_activation_fn,
           "Activation of the classification head.")
      .choices({"tanh", "relu", "gelu", "linear"});
  table.add("pooler-dropout", &o.pooler_dropout, "Dropout of the classification head.").range(0, 1);
  table.add("untie-weights-roberta", &o.untie_weights_roberta,
            "Separate input and output embeddings.");
  table.add("max-positions", &o.max_positions, "Positions of the model; not given: 512.")
      .range(1, 1 << 20);
}

void describe_adaptive(OptionTable& table, ModelOptions& o) {
  table.for_tasks({"language_modeling"});
  table.add("adaptive-input", &o.adaptive_input, "Rare tokens have narrower embeddings.");
  table
      .add("adaptive-input-cutoff", &o.adaptive_input_cutoff,
           "Token indices at which adaptive input narrows.")
      .at_least(1);
  table
      .add("adaptive-input-factor", &o.adaptive_input_factor,
           "Each step of adaptive input is so much narrower.")
      .above(0);
  table
      .add("adaptive-softmax-cutoff", &o.adaptive_softmax_cutoff,
           "Token indices at which the adaptive softmax begins a new cluster.")
      .at_least(1);
  table
      .add("adaptive-softmax-dropout", &o.adaptive_softmax_dropout,
           "Dropout in the clusters of the adaptive softmax.")
      .range(0, 1);
  table
      .add("adaptive-softmax-factor", &o.adaptive_softmax_factor,
           "Each cluster of the adaptive softmax is so much narrower.")
      .above(0);
  table.add("tie-adaptive-weights", &o.tie_adaptive_weights,
            "Adaptive softmax and input share their embeddings.");
  table.add("tie-adaptive-proj", &o.tie_adaptive_proj,
            "Adaptive softmax and input share their projections.");
}

}  // namespace

void describe_model(OptionTable& table, ModelOptions& o) {
  table.group("model", "Model (what is not given follows from the architecture)");
  table.add("arch", &o.arch, "Architecture, e.g. transformer_lm_gptsmall_moe.")
      .alias("a")
      .choices(architecture_names());
  table
      .add("activation-fn", &o.activation_fn,
           "Activation of feed-forward blocks and experts; gelu_accurate and gelu_fast are "
           "gelu_tanh.")
      .choices({"relu", "gelu", "gelu_tanh"})
      .synonyms({{"gelu_accurate", "gelu_tanh"}, {"gelu_fast", "gelu_tanh"}})
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
  describe_encoder_decoder(table, o);
  describe_roberta(table, o);
  describe_adaptive(table, o);
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
            "label_smoothed_cross_entropy: logs the share of tokens that are predicted.");
  table
      .add("ignore-prefix-size", &o.ignore_prefix_size,
           "label_smoothed_cross_entropy: first tokens of a target that are not scored.")
      .at_least(0);
  table.add("sentence-avg", &o.sentence_avg,
            "Losses are divided by the number of sentences, not of tokens.");
  table.add("moe-gate-loss-wt", &o.moe_gate_loss_wt, "Weight of the balance loss.").at_least(0);
  table.add("moe-gate-loss-combine-method", &o.moe_gate_loss_combine_method, "Over the MoE layers.")
      .choices({"average", "sum"});
  table.add("moe-gate-loss-transform", &o.moe_gate_loss_transform, "Applied to the balance loss.")
      .choices({"none", "neg_log"});
  table
      .add("moe-z-loss-wt", &o.moe_z_loss_wt,
           "Weight of the router z-loss, which keeps the logits small.")
      .at_least(0);
  table.for_tasks({"sentence_prediction"});
  table.add("regression-target", &o.regression_target,
            "Predicts a number of each row (label/SPLIT.label, one a line) and minimises the "
            "squared error.");
}

}  // namespace evomoe
