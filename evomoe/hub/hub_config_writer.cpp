#include "evomoe/hub/hub_config_writer.h"

#include "evomoe/hub/evaluation_topk.h"
#include "evomoe/hub/evomoe_config.h"
#include "evomoe/hub/gpt2_tensors.h"
#include "evomoe/hub/hub_shape.h"

namespace evomoe {
namespace {

nlohmann::ordered_json rotary_config(const RotaryOptions& rotary) {
  nlohmann::ordered_json config = {{"rope_type", rotary.scaling}, {"rope_theta", rotary.base}};
  if (rotary.scaling == "default") return config;
  config["factor"] = rotary.factor;
  if (rotary.scaling == "linear") return config;
  config["low_freq_factor"] = rotary.low_factor;
  config["high_freq_factor"] = rotary.high_factor;
  config["original_max_position_embeddings"] = rotary.original_positions;
  return config;
}

void add_experts_config(const HubArchitecture& architecture, const GptOptions& gpt,
                        nlohmann::ordered_json& config) {
  const auto topk = evaluation_topk(gpt.moe.router).value();
  config[architecture.experts_field] = gpt.moe.router.num_experts;
  config["num_experts_per_tok"] = topk.k;
  config[architecture.expert_width_field] = gpt.expert_dim();
  if (architecture.shared_expert) config["shared_expert_intermediate_size"] = gpt.shared_expert_dim;
  if (!architecture.always_normalized) config["norm_topk_prob"] = topk.normalized;
  if (!architecture.dense_layers) return;
  config["decoder_sparse_step"] = gpt.moe_freq;
  config["mlp_only_layers"] = nlohmann::ordered_json::array();
  for (int64_t i = 0; i < gpt.first_dense_layers; ++i) config["mlp_only_layers"].push_back(i);
}

void add_llama_config(const HubArchitecture& architecture, const GptOptions& gpt,
                      nlohmann::ordered_json& config) {
  const auto attention = gpt.attention();
  config["num_key_value_heads"] = attention.key_heads();
  if (architecture.head_dim) config["head_dim"] = attention.head_width();
  config["rms_norm_eps"] = gpt.norm.eps;
  // As version 5 reads it, and as those before do.
  config["rope_parameters"] = rotary_config(gpt.rotary);
  config["rope_theta"] = gpt.rotary.base;
  if (gpt.rotary.scaling != "default") {
    config["rope_scaling"] = rotary_config(gpt.rotary);
    config["rope_scaling"].erase("rope_theta");
  }
  config["tie_word_embeddings"] = gpt.tie_embeddings;
  if (architecture.bias == "field") config["attention_bias"] = gpt.attention_bias == "all";
  if (architecture.bias == "qkv_field") config["qkv_bias"] = gpt.attention_bias == "qkv";
  config["attention_dropout"] = gpt.attention_dropout;
  if (architecture.window == "field") {
    config["sliding_window"] =
        gpt.window > 0 ? nlohmann::ordered_json(gpt.window) : nlohmann::ordered_json();
  } else if (architecture.window != "none") {
    config["use_sliding_window"] = gpt.window > 0;
    if (gpt.window > 0) config["sliding_window"] = gpt.window;
  }
  if (architecture.experts) add_experts_config(architecture, gpt, config);
}

void add_fairseq_config(bool xglm, const GptOptions& gpt, nlohmann::ordered_json& config) {
  config["scale_embedding"] = gpt.scale_embedding;
  config["tie_word_embeddings"] = gpt.tie_embeddings;
  config[xglm ? "dropout" : "hidden_dropout_prob"] = gpt.dropout;
  config[xglm ? "attention_dropout" : "attention_probs_dropout_prob"] = gpt.attention_dropout;
  config["activation_dropout"] = gpt.activation_dropout;
}

void add_gpt2_config(const GptOptions& gpt, nlohmann::ordered_json& config) {
  config["layer_norm_epsilon"] = gpt.norm.eps;
  config["resid_pdrop"] = config["embd_pdrop"] = gpt.dropout;
  config["attn_pdrop"] = gpt.attention_dropout;
  config["tie_word_embeddings"] = gpt2_ties(gpt);
}

}  // namespace

nlohmann::ordered_json hub_config(const HubArchitecture& architecture, const GptOptions& gpt,
                                  const std::string& dtype, bool mask_padding) {
  nlohmann::ordered_json config;
  config["architectures"] = {architecture.model_class};
  config["model_type"] = architecture.type;
  config["vocab_size"] = gpt.vocab_size;
  add_hub_shape(architecture, gpt, config);
  switch (architecture.family) {
    case HubFamily::kLlama:
      add_llama_config(architecture, gpt, config);
      break;
    case HubFamily::kFairseq:
      add_fairseq_config(architecture.type == "xglm", gpt, config);
      break;
    case HubFamily::kGpt2:
      add_gpt2_config(gpt, config);
      break;
    case HubFamily::kEvomoe:
      add_evomoe_config(gpt, mask_padding, config);
      break;
  }
  config["dtype"] = dtype;
  config["torch_dtype"] = dtype;
  return config;
}

}  // namespace evomoe
