#include "evomoe/hub/hub_architecture.h"

#include <fmt/ranges.h>

#include "evomoe/base/error.h"

namespace evomoe {

const std::vector<HubArchitecture>& hub_architectures() {
  // Read in transformers 5.24.0, models/*/configuration_*.py and modeling_*.py. What fits several
  // is the first of them.
  static const std::vector<HubArchitecture> all = {
      {.type = "llama",
       .model_class = "LlamaForCausalLM",
       .defaults = {{"max_position_embeddings", 2048}, {"rms_norm_eps", 1e-6}}},
      {.type = "mistral",
       .model_class = "MistralForCausalLM",
       .defaults = {{"max_position_embeddings", 131072},
                    {"rms_norm_eps", 1e-6},
                    {"num_key_value_heads", 8},
                    {"sliding_window", 4096}},
       .bias = "none",
       .window = "field"},
      {.type = "qwen2",
       .model_class = "Qwen2ForCausalLM",
       .defaults = {{"max_position_embeddings", 32768},
                    {"rms_norm_eps", 1e-6},
                    {"num_key_value_heads", 32}},
       .bias = "qkv",
       .window = "off"},
      {.type = "qwen3",
       .model_class = "Qwen3ForCausalLM",
       .defaults = {{"max_position_embeddings", 32768},
                    {"rms_norm_eps", 1e-6},
                    {"num_key_value_heads", 32},
                    {"head_dim", 128}},
       .query_key_norm = "head",
       .window = "off"},
      {.type = "xglm",
       .model_class = "XGLMForCausalLM",
       .family = HubFamily::kFairseq,
       .defaults = {{"max_position_embeddings", 2048}, {"tie_word_embeddings", true}},
       .shape = {.layers = "num_layers",
                 .width = "d_model",
                 .heads = "attention_heads",
                 .ffn_width = "ffn_dim",
                 .activation = "activation_function",
                 .default_activation = "gelu"}},
      {.type = "biogpt",
       .model_class = "BioGptForCausalLM",
       .family = HubFamily::kFairseq,
       .defaults = {{"max_position_embeddings", 1024}, {"tie_word_embeddings", true}},
       .shape = {.default_activation = "gelu"},
       .base = "biogpt.",
       .embedding = "biogpt.embed_tokens.weight",
       .head = "output_projection.weight",
       .learned_positions = true},
      {.type = "gpt2",
       .model_class = "GPT2LMHeadModel",
       .family = HubFamily::kGpt2,
       .defaults = {{"n_positions", 1024}, {"tie_word_embeddings", true}},
       .shape = {.layers = "n_layer",
                 .width = "n_embd",
                 .heads = "n_head",
                 .ffn_width = "n_inner",
                 .ffn_width_required = false,
                 .positions = "n_positions",
                 .activation = "activation_function",
                 .default_activation = "gelu_new"},
       .base = "transformer.",
       .embedding = "transformer.wte.weight"},
      {.type = "mixtral",
       .model_class = "MixtralForCausalLM",
       .defaults = {{"max_position_embeddings", 131072},
                    {"rms_norm_eps", 1e-5},
                    {"num_key_value_heads", 8},
                    {"rope_theta", 1e6},
                    {"num_local_experts", 8},
                    {"num_experts_per_tok", 2}},
       .bias = "none",
       .window = "field",
       .experts = true,
       .experts_field = "num_local_experts",
       .always_normalized = true,
       .expert_block = "block_sparse_moe",
       .gate_name = "w1",
       .up_name = "w3",
       .down_name = "w2"},
      {.type = "olmoe",
       .model_class = "OlmoeForCausalLM",
       .defaults = {{"max_position_embeddings", 4096},
                    {"rms_norm_eps", 1e-5},
                    {"num_experts", 64},
                    {"num_experts_per_tok", 8}},
       .query_key_norm = "width",
       .head_dim = false,
       .experts = true},
      {.type = "qwen3_moe",
       .model_class = "Qwen3MoeForCausalLM",
       .defaults = {{"max_position_embeddings", 32768},
                    {"rms_norm_eps", 1e-6},
                    {"num_key_value_heads", 4},
                    {"num_experts", 128},
                    {"num_experts_per_tok", 8},
                    {"moe_intermediate_size", 768}},
       .query_key_norm = "head",
       .window = "switch",
       .experts = true,
       .expert_width_field = "moe_intermediate_size",
       .dense_layers = true},
      {.type = "qwen2_moe",
       .model_class = "Qwen2MoeForCausalLM",
       .defaults = {{"max_position_embeddings", 32768},
                    {"rms_norm_eps", 1e-6},
                    {"num_key_value_heads", 16},
                    {"num_experts", 60},
                    {"num_experts_per_tok", 4},
                    {"moe_intermediate_size", 1408},
                    {"shared_expert_intermediate_size", 5632},
                    {"qkv_bias", true}},
       .bias = "qkv_field",
       .window = "off",
       .head_dim = false,
       .experts = true,
       .expert_width_field = "moe_intermediate_size",
       .dense_layers = true,
       .shared_expert = true},
      {.type = "evomoe",
       .model_class = "EvomoeForCausalLM",
       .family = HubFamily::kEvomoe,
       .shape = {.default_activation = "gelu"}},
  };
  return all;
}

std::vector<std::string> hub_architecture_names() {
  std::vector<std::string> names;
  for (const auto& each : hub_architectures()) names.push_back(each.type);
  return names;
}

const HubArchitecture& find_hub_architecture(const std::string& type) {
  for (const auto& each : hub_architectures()) {
    if (each.type == type) return each;
  }
  fail_usage("--hf-architecture {}: is not known; allowed are {}", type,
             fmt::join(hub_architecture_names(), ", "));
}

}  // namespace evomoe
