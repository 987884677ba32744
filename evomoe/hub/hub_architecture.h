#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

/// Models of Hugging Face's transformers (docs/huggingface.md).
namespace evomoe {

/// How a class of transformers names fields and tensors, and what its models are made of.
enum class HubFamily {
  kLlama,    ///< RMS norms, rotary positions, gated blocks: decoders of today
  kFairseq,  ///< fairseq's decoder, which is ours: layer norms, biases, tensors named as ours
  kGpt2,    ///< the same with other names, its matrices transposed, queries, keys and values joined
  kEvomoe,  ///< our own class (modeling_evomoe.py), which has what transformers has not
};

/// What config.json calls the sizes of a model and its activation.
struct HubShapeFields {
  std::string layers = "num_hidden_layers";
  std::string width = "hidden_size";
  std::string heads = "num_attention_heads";
  std::string ffn_width = "intermediate_size";
  bool ffn_width_required = true;  ///< else four times the width where it is missing or null
  std::string positions = "max_position_embeddings";
  std::string activation = "hidden_act";
  std::string default_activation = "silu";
};

/// A class of transformers that a language model of ours can be, weight by weight: where it differs
/// from the first one of its family. A field of config.json that decides nothing else is the same
/// for all of them.
struct HubArchitecture {
  std::string type;         ///< `model_type`, and what --hf-architecture names: "olmoe"
  std::string model_class;  ///< `architectures`: "OlmoeForCausalLM"
  HubFamily family = HubFamily::kLlama;
  /// What transformers takes for fields that config.json leaves out.
  nlohmann::json defaults = {};
  HubShapeFields shape = {};
  // Names of tensors.
  std::string base = "model.";  ///< what all but the head begin with
  std::string embedding = "model.embed_tokens.weight";
  std::string head = "lm_head.weight";

  // Of the family kFairseq.
  bool learned_positions = false;  ///< else sinusoids

  // Of the family kLlama.
  std::string query_key_norm = "none";  ///< as --query-key-norm
  std::string bias = "field";           ///< none | qkv | field: `attention_bias`, all or none |
                                        ///< qkv_field: `qkv_bias`, qkv or none
  std::string window = "none";          ///< none | field: `sliding_window` | switch: with
                                        ///< `use_sliding_window` | off: that must be false
  bool head_dim = true;                 ///< it has the field `head_dim`

  bool experts = false;
  std::string experts_field = "num_experts";
  std::string expert_width_field = "intermediate_size";
  bool always_normalized = false;  ///< else `norm_topk_prob` says it
  bool dense_layers = false;       ///< `decoder_sparse_step` and `mlp_only_layers`
  bool shared_expert = false;      ///< beside the others, weighed by a gate of its own
  std::string expert_block = "mlp";
  std::string gate_name = "gate_proj", up_name = "up_proj", down_name = "down_proj";
};

/// All of them, those without experts first and ours last.
const std::vector<HubArchitecture>& hub_architectures();

/// Their types.
std::vector<std::string> hub_architecture_names();

/// The one of this type; UsageError that lists them.
const HubArchitecture& find_hub_architecture(const std::string& type);

}  // namespace evomoe
