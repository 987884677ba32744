#include "evomoe/hub/evomoe_config.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/routing/capacity.h"
#include "evomoe/routing/dts_router.h"
#include "evomoe/routing/gshard_router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

const std::vector<std::pair<PositionKind, std::string>>& position_names() {
  static const std::vector<std::pair<PositionKind, std::string>> names = {
      {PositionKind::kNone, "none"},
      {PositionKind::kLearned, "learned"},
      {PositionKind::kSinusoidal, "sinusoidal"},
      {PositionKind::kRotary, "rotary"}};
  return names;
}

std::string required_word(HubFields& fields, const std::string& name,
                          const std::vector<std::string>& allowed) {
  const auto word = fields.text(name).value_or("");
  if (std::ranges::find(allowed, word) != allowed.end()) return word;
  std::string list;
  for (const auto& each : allowed) list += (list.empty() ? "" : ", ") + each;
  fields.refuse(name, word, list);
}

void read_own_rotary(HubFields& fields, DecoderFormOptions& form) {
  const auto* given = fields.object("rotary");
  form.rotary_pos = true;
  if (given == nullptr) return;
  HubFields rotary(fields.where() + ", `rotary`", *given);
  form.rotary_base = rotary.number("base").value_or(10000);
  form.rotary_scaling = required_word(rotary, "scaling", {"default", "linear", "llama3"});
  const auto factor = rotary.number("factor");
  const auto low = rotary.number("low_factor"), high = rotary.number("high_factor");
  const auto original = rotary.integer("original_positions");
  rotary.end();
  if (form.rotary_scaling == "default") return;
  form.rotary_factor = factor;
  if (form.rotary_scaling == "linear") return;
  form.rotary_low_factor = low;
  form.rotary_high_factor = high;
  form.rotary_original_positions = original;
}

void read_own_router(HubFields& fields, TrainOptions& options) {
  const auto* given = fields.object("router");
  if (given == nullptr)
    fields.refuse("router", json(), "what the layers with experts are routed by");
  HubFields router(fields.where() + ", `router`", *given);
  options.moe.moe_router = required_word(router, "method", evomoe_routers());
  auto& topk = options.routers.get<TopkOptions>();
  auto& capacity = options.routers.get<CapacityOptions>();
  auto& gshard = options.routers.get<GshardOptions>();
  auto& dts = options.routers.get<DtsOptions>();
  topk.k = router.integer("k").value_or(topk.k);
  topk.no_normalize = router.flag("no_normalize");
  gshard.normalize_before_dropping = router.flag("normalize_before_dropping");
  gshard.batch_prioritized = router.flag("batch_prioritized");
  dts.final_k = router.integer("final_k").value_or(1);
  dts.normalize_weights = router.flag("normalize_weights");
  dts.scale_weights = router.flag("scale_weights");
  capacity.train_factor = router.number("train_capacity").value_or(capacity.train_factor);
  capacity.eval_fraction = router.number("eval_capacity").value_or(capacity.eval_fraction);
  capacity.drop_policy = router.text("drop_policy").value_or(capacity.drop_policy);
  options.moe.use_moe_pad_mask = router.flag("mask_padding");
  router.end();
}

void read_own_experts(HubFields& fields, TrainOptions& options) {
  auto& moe = options.moe;
  moe.moe_freq = fields.integer("moe_freq").value_or(0);
  if (moe.moe_freq == 0) return;
  moe.moe_first_dense_layers = fields.integer("first_dense_layers").value_or(0);
  moe.moe_expert_count = fields.required_integer("num_experts");
  const auto width = fields.required_integer("moe_intermediate_size");
  if (width != *options.model.decoder.ffn_embed_dim) moe.moe_expert_hidden_dim = width;
  moe.moe_shared_expert_hidden_dim = fields.integer("shared_expert_intermediate_size").value_or(0);
  read_own_router(fields, options);
  options.criterion.criterion = "moe_cross_entropy";
}

ordered_json router_config(const RouterOptions& router, bool mask_padding) {
  ordered_json config = {{"method", router.method}};
  if (router.method == "topk") {
    const auto& topk = router.get<TopkOptions>();
    config["k"] = topk.k;
    config["no_normalize"] = topk.no_normalize;
  } else if (router.method == "gshard") {
    const auto& gshard = router.get<GshardOptions>();
    config["normalize_before_dropping"] = gshard.normalize_before_dropping;
    config["batch_prioritized"] = gshard.batch_prioritized;
  } else if (router.method == "dts") {
    const auto& dts = router.get<DtsOptions>();
    config["final_k"] = dts.final_k;
    config["normalize_weights"] = dts.normalize_weights;
    config["scale_weights"] = dts.scale_weights;
  }
  const auto& capacity = router.get<CapacityOptions>();
  if (router.method != "dts") config["train_capacity"] = capacity.train_factor;
  config["eval_capacity"] = capacity.eval_fraction;
  config["drop_policy"] = capacity.drop_policy;
  config["mask_padding"] = mask_padding;
  return config;
}

}  // namespace

const std::vector<std::string>& evomoe_routers() {
  static const std::vector<std::string> methods = {"switch", "topk", "gshard", "dts"};
  return methods;
}

void read_evomoe_config(HubFields& fields, TrainOptions& options) {
  auto& model = options.model;
  auto& decoder = model.decoder;
  auto& form = model.form;
  form.kv_heads = fields.required_integer("num_key_value_heads");
  form.head_dim = fields.required_integer("head_dim");
  const auto kind = required_word(fields, "positions", {"none", "learned", "sinusoidal", "rotary"});
  if (kind == "none") model.no_token_positional_embeddings = true;
  if (kind == "learned") decoder.learned_pos = true;
  if (kind == "rotary") read_own_rotary(fields, form);
  form.norm = required_word(fields, "norm", {"layer_norm", "rms_norm"});
  form.norm_eps = fields.number("norm_eps");
  form.gated_ffn = fields.flag("gated");
  form.no_ffn_bias = !fields.flag("ffn_bias", true);
  form.attention_bias = required_word(fields, "attention_bias", {"all", "qkv", "none"});
  form.query_key_norm = required_word(fields, "query_key_norm", {"none", "width", "head"});
  form.sliding_window = fields.integer("attention_window").value_or(0);
  model.layernorm_embedding = fields.flag("embedding_norm");
  model.no_decoder_final_norm = !fields.flag("final_norm", true);
  model.no_scale_embedding = !fields.flag("scale_embedding", true);
  model.share_decoder_input_output_embed = fields.flag("tie_word_embeddings");
  const auto padding = fields.integer("padding_index");
  if (padding.value_or(1) != 1) fields.refuse("padding_index", *padding, "1");
  read_own_experts(fields, options);
}

void add_evomoe_config(const GptOptions& gpt, bool mask_padding, ordered_json& config) {
  const auto attention = gpt.attention();
  config["auto_map"] = {{"AutoConfig", "configuration_evomoe.EvomoeConfig"},
                        {"AutoModelForCausalLM", "modeling_evomoe.EvomoeForCausalLM"}};
  config["num_key_value_heads"] = attention.key_heads();
  config["head_dim"] = attention.head_width();
  for (const auto& [kind, name] : position_names()) {
    if (kind == gpt.positions) config["positions"] = name;
  }
  config["padding_index"] = gpt.padding_index;
  if (gpt.positions == PositionKind::kRotary) {
    auto& rotary = config["rotary"];
    rotary = {{"base", gpt.rotary.base}, {"scaling", gpt.rotary.scaling}};
    if (gpt.rotary.scaling != "default") rotary["factor"] = gpt.rotary.factor;
    if (gpt.rotary.scaling == "llama3") {
      rotary["low_factor"] = gpt.rotary.low_factor;
      rotary["high_factor"] = gpt.rotary.high_factor;
      rotary["original_positions"] = gpt.rotary.original_positions;
    }
  }
  config["norm"] = gpt.norm.kind == NormKind::kRmsNorm ? "rms_norm" : "layer_norm";
  config["norm_eps"] = gpt.norm.eps;
  config["gated"] = gpt.gated;
  config["ffn_bias"] = gpt.ffn_bias;
  config["attention_bias"] = gpt.attention_bias;
  config["query_key_norm"] = gpt.query_key_norm;
  config["attention_window"] = gpt.window;
  config["embedding_norm"] = gpt.embedding_norm;
  config["final_norm"] = gpt.final_norm;
  config["scale_embedding"] = gpt.scale_embedding;
  config["tie_word_embeddings"] = gpt.tie_embeddings;
  config["moe_freq"] = gpt.moe_freq;
  if (gpt.moe_freq == 0) return;
  config["first_dense_layers"] = gpt.first_dense_layers;
  config["num_experts"] = gpt.moe.router.num_experts;
  config["moe_intermediate_size"] = gpt.expert_dim();
  config["shared_expert_intermediate_size"] = gpt.shared_expert_dim;
  config["router"] = router_config(gpt.moe.router, mask_padding);
}

}  // namespace evomoe
