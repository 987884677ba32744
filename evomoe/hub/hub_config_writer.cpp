#include "evomoe/hub/hub_config_writer.h"

#include "evomoe/routing/topk_router.h"
#include "evomoe/text/dictionary.h"

namespace evomoe {
namespace {

std::string their_activation(const std::string& ours) {
  return ours == "gelu_tanh" ? "gelu_pytorch_tanh" : ours;
}

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

}  // namespace

nlohmann::ordered_json hub_config(const HubArchitecture& architecture, const GptOptions& gpt,
                                  const std::string& dtype) {
  const auto attention = gpt.attention();
  nlohmann::ordered_json config;
  config["architectures"] = {architecture.model_class};
  config["model_type"] = architecture.type;
  config["vocab_size"] = gpt.vocab_size;
  config["hidden_size"] = gpt.embed_dim;
  config["intermediate_size"] = gpt.ffn_dim;
  config["num_hidden_layers"] = gpt.layers;
  config["num_attention_heads"] = gpt.heads;
  config["num_key_value_heads"] = attention.key_heads();
  if (architecture.head_dim) config["head_dim"] = attention.head_width();
  config["hidden_act"] = their_activation(gpt.activation);
  config["max_position_embeddings"] = gpt.max_positions;
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
  config["attention_dropout"] = gpt.attention_dropout;
  if (architecture.window == "field") {
    config["sliding_window"] =
        gpt.window > 0 ? nlohmann::ordered_json(gpt.window) : nlohmann::ordered_json();
  } else if (architecture.window != "none") {
    config["use_sliding_window"] = gpt.window > 0;
    if (gpt.window > 0) config["sliding_window"] = gpt.window;
  }
  if (architecture.experts) {
    const auto& topk = gpt.moe.router.get<TopkOptions>();
    config[architecture.experts_field] = gpt.moe.router.num_experts;
    config["num_experts_per_tok"] = topk.k;
    config[architecture.expert_width_field] = gpt.expert_dim();
    if (!architecture.always_normalized) config["norm_topk_prob"] = !topk.no_normalize;
    if (architecture.dense_layers) {
      config["decoder_sparse_step"] = gpt.moe_freq;
      config["mlp_only_layers"] = nlohmann::ordered_json::array();
      for (int64_t i = 0; i < gpt.first_dense_layers; ++i) config["mlp_only_layers"].push_back(i);
    }
  }
  config["bos_token_id"] = Dictionary::kBos;
  config["pad_token_id"] = Dictionary::kPad;
  config["eos_token_id"] = Dictionary::kEos;
  config["dtype"] = dtype;
  config["torch_dtype"] = dtype;
  return config;
}

}  // namespace evomoe
