#include "evomoe/hub/hub_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "evomoe/base/error.h"
#include "evomoe/base/parse_json.h"
#include "evomoe/routing/capacity.h"
#include "evomoe/routing/topk_router.h"
#include "evomoe/text/dictionary.h"
#include "evomoe/train/model_options.h"

namespace evomoe {
namespace {

using nlohmann::json;

const std::map<std::string, std::string>& our_activations() {
  static const std::map<std::string, std::string> ours = {
      {"silu", "silu"},          {"swish", "silu"},
      {"gelu", "gelu"},          {"gelu_pytorch_tanh", "gelu_tanh"},
      {"gelu_new", "gelu_tanh"}, {"relu", "relu"}};
  return ours;
}

std::string their_activation(const std::string& ours) {
  return ours == "gelu_tanh" ? "gelu_pytorch_tanh" : ours;
}

/// Fields that do not change what the model computes.
const std::set<std::string>& harmless_fields() {
  static const std::set<std::string> names = {"_attn_implementation_autoset",
                                              "_model_name_or_path",
                                              "_name_or_path",
                                              "architectures",
                                              "attention_dropout",
                                              "bos_token_id",
                                              "chunk_size_feed_forward",
                                              "dtype",
                                              "eos_token_id",
                                              "id2label",
                                              "initializer_range",
                                              "is_decoder",
                                              "is_encoder_decoder",
                                              "is_llama_config",
                                              "label2id",
                                              "max_window_layers",
                                              "model_type",
                                              "name_or_path",
                                              "output_attentions",
                                              "output_hidden_states",
                                              "output_router_logits",
                                              "pad_token_id",
                                              "pretraining_tp",
                                              "problem_type",
                                              "return_dict",
                                              "router_aux_loss_coef",
                                              "router_jitter_noise",
                                              "torch_dtype",
                                              "transformers.js_config",
                                              "transformers_version",
                                              "unk_token_id",
                                              "use_cache"};
  return names;
}

/// The fields of a JSON object, each of which must be read or be harmless.
class Fields {
 public:
  Fields(std::string where, json values, json defaults)
      : where_(std::move(where)), values_(std::move(values)), defaults_(std::move(defaults)) {}

  const std::string& where() const { return where_; }
  bool has(const std::string& name) const {
    const auto found = values_.find(name);
    return found != values_.end() && !found->is_null();
  }

  std::optional<int64_t> integer(const std::string& name) {
    const auto* value = find(name);
    if (value == nullptr) return std::nullopt;
    // So that products of two are numbers as well.
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    if (!value->is_number_integer() || *value < 0 || *value > kMost)
      refuse(name, *value, fmt::format("an integer of 0 to {}", kMost));
    return value->get<int64_t>();
  }
  int64_t required_integer(const std::string& name) {
    const auto value = integer(name);
    EVOMOE_CHECK(value, "{}: `{}` is missing; the model cannot be made without it", where_, name);
    if (*value < 1) refuse(name, *value, "at least 1");
    return *value;
  }
  std::optional<double> number(const std::string& name) {
    const auto* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number()) refuse(name, *value, "a number");
    return value->get<double>();
  }
  bool flag(const std::string& name, bool otherwise = false) {
    const auto* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) refuse(name, *value, "true or false");
    return value->get<bool>();
  }
  std::optional<std::string> text(const std::string& name) {
    const auto* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) refuse(name, *value, "a string");
    return value->get<std::string>();
  }
  /// null: not there.
  const json* object(const std::string& name) {
    const auto* value = find(name);
    if (value != nullptr && !value->is_object()) refuse(name, *value, "an object");
    return value;
  }
  const json* list(const std::string& name) {
    const auto* value = find(name);
    if (value != nullptr && !value->is_array()) refuse(name, *value, "a list");
    return value;
  }

  /// A feature that no model of ours has.
  void must_be_off(const std::string& name, const std::string& what) {
    const auto* value = find(name);
    if (value != nullptr && *value != json(false))
      fail("{}: `{}` is {}, but there are no {} here", where_, name, value->dump(), what);
  }
  [[noreturn]] void refuse(const std::string& name, const json& value,
                           const std::string& allowed) const {
    fail("{}: `{}` is {}; allowed is {}", where_, name, value.dump(), allowed);
  }
  /// Error that lists what nobody read.
  void end(const std::set<std::string>& harmless = {}) const {
    std::vector<std::string> unknown;
    for (const auto& [name, value] : values_.items()) {
      if (!value.is_null() && !read_.contains(name) && !harmless.contains(name))
        unknown.push_back(name);
    }
    EVOMOE_CHECK(
        unknown.empty(),
        "{}: what {} mean{} is not known, and it may change what the model computes; if it "
        "does not, remove it from the file",
        where_, fmt::join(unknown, ", "), unknown.size() == 1 ? "s" : "");
  }

 private:
  /// Of the file, else the default; null: neither.
  const json* find(const std::string& name) {
    read_.insert(name);
    for (const auto* each : {&values_, &defaults_}) {
      if (!each->is_object()) continue;
      const auto found = each->find(name);
      // What the file sets to null is off, whatever the default.
      if (found != each->end()) return found->is_null() ? nullptr : &*found;
    }
    return nullptr;
  }

  std::string where_;
  json values_, defaults_;
  std::set<std::string> read_;
};

json read_json_object(const std::filesystem::path& path) {
  std::ifstream file(path);
  EVOMOE_CHECK(file, "{}: cannot be read; --from hf takes the folder of a model, with config.json",
               path.string());
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string repeated;
  auto value = parse_json(text, &repeated);
  EVOMOE_CHECK(!value.is_discarded() && value.is_object(), "{}: is not a JSON object",
               path.string());
  EVOMOE_CHECK(repeated.empty(), "{}: has `{}` twice", path.string(), repeated);
  return value;
}

const HubArchitecture& architecture_in(const json& config, const std::string& where) {
  const auto type = config.value("model_type", json());
  const auto classes = config.value("architectures", json());
  const HubArchitecture* found = nullptr;
  for (const auto& each : hub_architectures()) {
    const bool of_class =
        classes.is_array() && !classes.empty() && classes[0] == json(each.model_class);
    const bool no_class = classes.is_null() && type == json(each.type);
    if (of_class || no_class) found = &each;
  }
  std::vector<std::string> known;
  for (const auto& each : hub_architectures()) known.push_back(each.model_class);
  EVOMOE_CHECK(
      found != nullptr,
      "{}: a model of `architectures` {} and `model_type` {} cannot be made here; those of "
      "{} can",
      where, classes.dump(), type.dump(), fmt::join(known, ", "));
  EVOMOE_CHECK(type.is_null() || type == json(found->type),
               "{}: `model_type` {} and `architectures` {} contradict each other", where,
               type.dump(), classes.dump());
  return *found;
}

/// `rope_parameters`, or `rope_theta` and `rope_scaling` as before version 5.
void read_rotary(Fields& fields, int64_t max_positions, DecoderFormOptions& form) {
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
  Fields rope(fields.where() + ", rotary parameters", *given, {});
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

int64_t read_window(Fields& fields, const HubArchitecture& architecture) {
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
void check_layer_types(Fields& fields, bool window) {
  const auto* types = fields.list("layer_types");
  if (types == nullptr) return;
  const std::string expected = window ? "sliding_attention" : "full_attention";
  for (const auto& type : *types) {
    if (type != json(expected))
      fields.refuse("layer_types", type, fmt::format("{} in all layers", expected));
  }
}

/// `mlp_only_layers`: the first ones.
int64_t first_dense_layers(Fields& fields) {
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

void read_experts(Fields& fields, const HubArchitecture& architecture, TrainOptions& options) {
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
  const auto dense_width = fields.integer("intermediate_size");
  const auto width = fields.required_integer(architecture.expert_width_field);
  const bool some_dense = moe.moe_freq > 1 || moe.moe_first_dense_layers > 0;
  if (some_dense && dense_width && *dense_width != width) {
    options.model.decoder.ffn_embed_dim = *dense_width;
    moe.moe_expert_hidden_dim = width;
  }
}

}  // namespace

HubModel read_hub_config(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  const auto config = read_json_object(path);
  const auto where = path.string();
  HubModel model;
  const auto& architecture = architecture_in(config, where);
  model.architecture = &architecture;
  EVOMOE_CHECK(!config.contains("quantization_config"),
               "{}: the model is quantised (`quantization_config`); take its weights in float32, "
               "bfloat16 or float16",
               where);
  Fields fields(where, config, architecture.defaults);
  auto& options = model.options;
  auto& decoder = options.model.decoder;
  auto& form = options.model.form;
  options.task.task = "language_modeling";
  options.model.arch = "transformer_lm";
  model.vocab_size = fields.required_integer("vocab_size");
  EVOMOE_CHECK(model.vocab_size > Dictionary::kSpecials,
               "{}: `vocab_size` is {}; a dictionary here has {} symbols of its own at least",
               where, model.vocab_size, Dictionary::kSpecials);
  decoder.layers = fields.required_integer("num_hidden_layers");
  decoder.embed_dim = fields.required_integer("hidden_size");
  decoder.attention_heads = fields.required_integer("num_attention_heads");
  decoder.ffn_embed_dim = fields.required_integer(
      architecture.experts ? architecture.expert_width_field : "intermediate_size");
  form.kv_heads = fields.integer("num_key_value_heads").value_or(*decoder.attention_heads);
  if (const auto width = fields.integer("head_dim")) {
    EVOMOE_CHECK(architecture.head_dim || *width * *decoder.attention_heads == *decoder.embed_dim,
                 "{}: `head_dim` is {}; in models of {} it is hidden_size / num_attention_heads",
                 where, *width, architecture.type);
    form.head_dim = *width;
  }
  const auto act = fields.text("hidden_act").value_or("silu");
  const auto ours = our_activations().find(act);
  if (ours == our_activations().end())
    fields.refuse("hidden_act", act, "silu, gelu, gelu_pytorch_tanh or relu");
  options.model.activation_fn = ours->second;
  const auto positions = fields.integer("max_position_embeddings").value_or(2048);
  options.model.max_target_positions = positions;
  options.task.tokens_per_sample = std::min(options.task.tokens_per_sample, positions);
  form.norm = "rms_norm";
  form.norm_eps = fields.number("rms_norm_eps");
  form.rotary_pos = true;
  read_rotary(fields, positions, form);
  fields.must_be_off("rope_interleaved", "rotary positions whose pairs lie side by side");
  form.gated_ffn = true;
  form.no_ffn_bias = true;
  fields.must_be_off("mlp_bias", "gated blocks with a bias on both projections");
  fields.must_be_off("clip_qkv", "clipped queries, keys and values");
  if (architecture.bias != "field")
    fields.must_be_off("attention_bias", "such biases in models of this architecture");
  const bool all_biases = architecture.bias == "field" && fields.flag("attention_bias");
  form.attention_bias = all_biases ? "all" : architecture.bias == "qkv" ? "qkv" : "none";
  form.query_key_norm = architecture.query_key_norm;
  form.sliding_window = read_window(fields, architecture);
  check_layer_types(fields, *form.sliding_window > 0);
  options.model.share_decoder_input_output_embed = fields.flag("tie_word_embeddings");
  options.model.no_scale_embedding = true;
  options.model.dropout = 0;
  options.model.attention_dropout = 0;
  options.model.activation_dropout = 0;
  if (architecture.experts) read_experts(fields, architecture, options);
  fields.end(harmless_fields());
  try {
    gpt_options(options, model.vocab_size, Dictionary::kPad, /*shared_expert=*/false).validate();
  } catch (const UsageError& error) {
    fail("{}: no model can be made of it: {}", where, error.what());
  }
  return model;
}

std::vector<std::string> what_hub_lacks(const HubArchitecture& architecture,
                                        const GptOptions& gpt) {
  std::vector<std::string> lacks;
  const auto need = [&](bool fits, const std::string& reason) {
    if (!fits) lacks.push_back(reason);
  };
  const auto attention = gpt.attention();
  need(gpt.norm.kind == NormKind::kRmsNorm, "its norms are RMS norms (--decoder-norm rms_norm)");
  need(gpt.norm_first && gpt.final_norm && !gpt.embedding_norm,
       "it has a norm before each block, after the last one, and none on the embeddings");
  need(gpt.positions == PositionKind::kRotary, "its positions are rotary (--decoder-rotary-pos)");
  need(!gpt.scale_embedding, "its embeddings are not scaled (--no-scale-embedding)");
  need(!gpt.adaptive_input.used() && !gpt.adaptive_softmax.bands.used(),
       "it has neither adaptive input nor adaptive softmax");
  need(gpt.query_key_norm == architecture.query_key_norm,
       fmt::format("its queries and keys are normed otherwise (--query-key-norm {})",
                   architecture.query_key_norm));
  const bool bias_fits = architecture.bias == "field"
                             ? gpt.attention_bias == "all" || gpt.attention_bias == "none"
                             : gpt.attention_bias == architecture.bias;
  need(bias_fits, fmt::format("its attention has other biases (--attention-bias {})",
                              architecture.bias == "field" ? "all or none" : architecture.bias));
  const bool plain_heads = attention.query_width() == gpt.embed_dim;
  need(plain_heads || architecture.head_dim,
       "its heads are as wide as --decoder-embed-dim / --decoder-attention-heads");
  need(architecture.type != "llama" || gpt.embed_dim % gpt.heads == 0,
       "its --decoder-embed-dim is a multiple of --decoder-attention-heads");
  need(gpt.window == 0 || architecture.window == "field" || architecture.window == "switch",
       "it has no --sliding-window");
  bool any_moe = false, any_dense = false;
  for (int64_t i = 0; i < gpt.layers; ++i) (gpt.is_moe(i) ? any_moe : any_dense) = true;
  need(!any_dense || (gpt.gated && !gpt.ffn_bias),
       "its feed-forward blocks are gated and have no biases (--gated-ffn --no-ffn-bias)");
  need(gpt.dense_ffn_dim_of_moe_layers == 0, "all its feed-forward blocks are as wide");
  if (!architecture.experts) {
    need(!any_moe, "it has no experts");
    return lacks;
  }
  need(gpt.shared_expert_dim == 0, "it has no shared expert (--moe-shared-expert-hidden-dim)");
  need(any_moe, "it has experts");
  if (!any_moe) return lacks;
  need(!any_dense || architecture.dense_layers, "it has experts in every layer (--moe-freq 1)");
  need(gpt.moe.gated && !gpt.moe.biases,
       "its experts are gated and have no biases (--gated-ffn --no-ffn-bias)");
  const auto& router = gpt.moe.router;
  need(router.method == "topk", "its router is --moe-router topk");
  if (router.method != "topk") return lacks;
  need(router.get<CapacityOptions>().train_factor <= 0,
       "it drops no tokens (--moe-train-capacity-token-fraction 0)");
  need(!architecture.always_normalized || !router.get<TopkOptions>().no_normalize,
       "it divides the weights of a token by their sum (no --moe-no-normalize-topk)");
  return lacks;
}

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
