#include "evomoe/hub/llama_config.h"

#include <fmt/format.h>

#include "evomoe/base/error.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {
namespace {

using nlohmann::json;

/// `rope_parameters`, or `rope_theta` and `rope_scaling` as before version 5.
void read_rotary(HubFields& fields, int64_t max_positions, DecoderFormOptions& form) {
  const auto flat = fields.number("rope_theta");
  const auto* scaling = fields.object("rope_scaling");
  const auto* parameters = fields.object("rope_parameters");
  form.rotary_base = flat.value_or(10000);
  const auto* given = scaling != nullptr ? scaling : parameters;
  if (given == nullptr) return;
  if (scaling != nullptr && parameters != nullptr) {
    for (const auto& [name, value] : scaling->items()) {
      if (parameters->contains(name) && parameters->at(name) != value)
        fail("{}: `rope_scaling` and `rope_parameters` differ in `{}`", fields.where(), name);
    }
  }
  HubFields rope(fields.where() + ", rotary parameters", *given);
  const auto base = rope.number("rope_theta");
  EVOMOE_CHECK(!base || !fields.has("rope_theta") || *base == *flat,
               "{}: `rope_theta` is {}, and {} in the rotary parameters", fields.where(), *flat,
               *base);
  if (base) form.rotary_base = *base;
  const auto older = rope.text("type");
  const auto type = rope.text("rope_type").value_or(older.value_or("default"));
  if (type != "default" && type != "linear" && type != "llama3")
    rope.refuse("rope_type", type, "default, linear or llama3");
  const auto part = rope.number("partial_rotary_factor").value_or(1);
  if (part != 1) rope.refuse("partial_rotary_factor", part, "1");
  form.rotary_scaling = type;
  const auto needed = [&](const char* name) {
    const auto value = rope.number(name);
    EVOMOE_CHECK(value, "{}: `{}` is missing", rope.where(), name);
    return *value;
  };
  if (type != "default") form.rotary_factor = needed("factor");
  if (type == "llama3") {
    form.rotary_low_factor = needed("low_freq_factor");
    form.rotary_high_factor = needed("high_freq_factor");
    form.rotary_original_positions =
        rope.integer("original_max_position_embeddings").value_or(max_positions);
  }
  rope.end();
}

int64_t read_window(HubFields& fields, const HubArchitecture& architecture) {
  if (architecture.window == "field") return fields.integer("sliding_window").value_or(0);
  if (architecture.window == "switch") {
    const bool used = fields.flag("use_sliding_window");
    const auto window = fields.integer("sliding_window").value_or(used ? 4096 : 0);
    return used ? window : 0;
  }
  fields.must_be_off("use_sliding_window", "models with a window in some layers only");
  if (architecture.window == "off") {
    fields.integer("sliding_window");
  } else {
    fields.must_be_off("sliding_window", "windows in models of this architecture");
  }
  return 0;
}

/// `layer_types`, which must be the same for all layers.
void check_layer_types(HubFields& fields, bool window) {
  const auto* types = fields.list("layer_types");
  if (types == nullptr) return;
  const std::string expected = window ? "sliding_attention" : "full_attention";
  for (const auto& type : *types) {
    if (type != json(expected))
      fields.refuse("layer_types", type, fmt::format("{} in all layers", expected));
  }
}

/// `mlp_only_layers`: the first ones.
int64_t first_dense_layers(HubFields& fields) {
  const auto* dense = fields.list("mlp_only_layers");
  if (dense == nullptr) return 0;
  for (size_t i = 0; i < dense->size(); ++i) {
    if ((*dense)[i] != json(i)) {
      fields.refuse("mlp_only_layers", *dense,
                    "the first layers, 0, 1, 2 ... (--moe-first-dense-layers)");
    }
  }
  return static_cast<int64_t>(dense->size());
}

void read_experts(HubFields& fields, const HubArchitecture& architecture, TrainOptions& options) {
  auto& moe = options.moe;
  const auto other =
      architecture.experts_field == "num_experts" ? "num_local_experts" : "num_experts";
  const auto of_other_name = fields.integer(other);
  moe.moe_expert_count = of_other_name && !fields.has(architecture.experts_field)
                             ? *of_other_name
                             : fields.required_integer(architecture.experts_field);
  if (of_other_name && *of_other_name != moe.moe_expert_count) {
    fail("{}: `{}` is {} and `{}` is {}; both are the number of experts", fields.where(),
         architecture.experts_field, moe.moe_expert_count, other, *of_other_name);
  }
  moe.moe_freq = 1;
  moe.moe_router = "topk";
  auto& topk = options.routers.get<TopkOptions>();
  topk.k = fields.required_integer("num_experts_per_tok");
  if (topk.k > moe.moe_expert_count) {
    fail("{}: `num_experts_per_tok` is {}, and there are {} experts", fields.where(), topk.k,
         moe.moe_expert_count);
  }
  topk.no_normalize = !architecture.always_normalized && !fields.flag("norm_topk_prob");
  options.routers.get<CapacityOptions>().train_factor = 0;
  options.criterion.criterion = "moe_cross_entropy";
  if (!architecture.dense_layers) return;
  if (fields.has("decoder_sparse_step"))
    moe.moe_freq = fields.required_integer("decoder_sparse_step");
  moe.moe_first_dense_layers = first_dense_layers(fields);
  if (architecture.shared_expert)
    moe.moe_shared_expert_hidden_dim =
        fields.integer("shared_expert_intermediate_size").value_or(0);
  const auto dense_width = fields.integer(architecture.shape.ffn_width);
  const auto width = fields.required_integer(architecture.expert_width_field);
  const bool some_dense = moe.moe_freq > 1 || moe.moe_first_dense_layers > 0;
  if (some_dense && dense_width && *dense_width != width) {
    options.model.decoder.ffn_embed_dim = *dense_width;
    moe.moe_expert_hidden_dim = width;
  }
}

std::string read_bias(HubFields& fields, const HubArchitecture& architecture) {
  if (architecture.bias == "field") return fields.flag("attention_bias") ? "all" : "none";
  if (architecture.bias == "qkv_field") return fields.flag("qkv_bias") ? "qkv" : "none";
  fields.must_be_off("attention_bias", "such biases in models of this architecture");
  return architecture.bias;
}

}  // namespace

void read_llama_config(HubFields& fields, const HubArchitecture& architecture,
                       TrainOptions& options) {
  const auto& decoder = options.model.decoder;
  auto& form = options.model.form;
  form.kv_heads = fields.integer("num_key_value_heads").value_or(*decoder.attention_heads);
  if (const auto width = fields.integer("head_dim")) {
    EVOMOE_CHECK(architecture.head_dim || *width * *decoder.attention_heads == *decoder.embed_dim,
                 "{}: `head_dim` is {}; in models of {} it is hidden_size / num_attention_heads",
                 fields.where(), *width, architecture.type);
    form.head_dim = *width;
  }
  form.norm = "rms_norm";
  form.norm_eps = fields.number("rms_norm_eps");
  form.rotary_pos = true;
  read_rotary(fields, *options.model.max_target_positions, form);
  fields.must_be_off("rope_interleaved", "rotary positions whose pairs lie side by side");
  form.gated_ffn = true;
  form.no_ffn_bias = true;
  fields.must_be_off("mlp_bias", "gated blocks with a bias on both projections");
  fields.must_be_off("clip_qkv", "clipped queries, keys and values");
  form.attention_bias = read_bias(fields, architecture);
  form.query_key_norm = architecture.query_key_norm;
  form.sliding_window = read_window(fields, architecture);
  check_layer_types(fields, *form.sliding_window > 0);
  options.model.share_decoder_input_output_embed = fields.flag("tie_word_embeddings");
  options.model.no_scale_embedding = true;
  options.model.dropout = 0;
  options.model.attention_dropout = 0;
  options.model.activation_dropout = 0;
  if (architecture.experts) read_experts(fields, architecture, options);
}

}  // namespace evomoe
