#include "evomoe/hub/gpt_config.h"

namespace evomoe {

void read_fairseq_config(HubFields& fields, const HubArchitecture& architecture,
                         TrainOptions& options) {
  const bool xglm = architecture.type == "xglm";
  auto& model = options.model;
  model.decoder.learned_pos = architecture.learned_positions;
  model.dropout = fields.number(xglm ? "dropout" : "hidden_dropout_prob").value_or(0.1);
  model.attention_dropout =
      fields.number(xglm ? "attention_dropout" : "attention_probs_dropout_prob").value_or(0.1);
  model.activation_dropout = fields.number("activation_dropout").value_or(0);
  model.no_scale_embedding = !fields.flag("scale_embedding", true);
  model.share_decoder_input_output_embed = fields.flag("tie_word_embeddings");
  fields.number("layer_norm_eps");  // BioGPT has it and norms with 1e-5 all the same
  fields.must_be_off("add_cross_attention", "decoders that attend to an encoder");
  // The sinusoids of that row are zeros there, and tokens begin at row 2.
  const auto padding = fields.integer("pad_token_id");
  if (xglm && padding.value_or(0) > 1) fields.refuse("pad_token_id", *padding, "0, 1 or null");
}

void read_gpt2_config(HubFields& fields, TrainOptions& options) {
  auto& model = options.model;
  model.decoder.learned_pos = true;
  model.form.norm_eps = fields.number("layer_norm_epsilon").value_or(1e-5);
  model.dropout = fields.number("resid_pdrop").value_or(0.1);
  model.attention_dropout = fields.number("attn_pdrop").value_or(0.1);
  model.activation_dropout = 0;
  model.no_scale_embedding = true;
  model.share_decoder_input_output_embed = fields.flag("tie_word_embeddings");
  if (!fields.flag("scale_attn_weights", true)) fields.refuse("scale_attn_weights", false, "true");
  fields.must_be_off("scale_attn_by_inverse_layer_idx", "scores divided by the layer's number");
  fields.must_be_off("add_cross_attention", "decoders that attend to an encoder");
  fields.flag("reorder_and_upcast_attn");  // how it is computed, not what
  // Of its other classes, and of training.
  fields.number("embd_pdrop");
  fields.number("n_ctx");
  fields.text("summary_type");
  fields.text("summary_activation");
  fields.number("summary_first_dropout");
  fields.flag("summary_use_proj");
  fields.flag("summary_proj_to_labels");
}

}  // namespace evomoe
