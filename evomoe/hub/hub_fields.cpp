#include "evomoe/hub/hub_fields.h"

#include <fmt/ranges.h>

#include <limits>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/base/json_text.h"

namespace evomoe {

using nlohmann::json;

HubFields::HubFields(std::string where, json values, json defaults)
    : where_(std::move(where)), values_(std::move(values)), defaults_(std::move(defaults)) {}

bool HubFields::has(const std::string& name) const {
  const auto found = values_.find(name);
  return found != values_.end() && !found->is_null();
}

std::optional<int64_t> HubFields::integer(const std::string& name) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  // So that products of two are numbers as well.
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (!value->is_number_integer() || *value < 0 || *value > kMost)
    refuse(name, *value, fmt::format("an integer of 0 to {}", kMost));
  return value->get<int64_t>();
}

int64_t HubFields::required_integer(const std::string& name) {
  const auto value = integer(name);
  EVOMOE_CHECK(value, "{}: `{}` is missing; the model cannot be made without it", where_, name);
  if (*value < 1) refuse(name, *value, "at least 1");
  return *value;
}

std::optional<double> HubFields::number(const std::string& name) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) refuse(name, *value, "a number");
  return value->get<double>();
}

bool HubFields::flag(const std::string& name, bool otherwise) {
  const auto* value = find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) refuse(name, *value, "true or false");
  return value->get<bool>();
}

std::optional<std::string> HubFields::text(const std::string& name) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse(name, *value, "a string");
  return value->get<std::string>();
}

const json* HubFields::object(const std::string& name) {
  const auto* value = find(name);
  if (value != nullptr && !value->is_object()) refuse(name, *value, "an object");
  return value;
}

const json* HubFields::list(const std::string& name) {
  const auto* value = find(name);
  if (value != nullptr && !value->is_array()) refuse(name, *value, "a list");
  return value;
}

void HubFields::must_be_off(const std::string& name, const std::string& what) {
  const auto* value = find(name);
  if (value != nullptr && *value != json(false))
    fail("{}: `{}` is {}, but there are no {} here", where_, name, json_text(*value), what);
}

void HubFields::refuse(const std::string& name, const json& value,
                       const std::string& allowed) const {
  fail("{}: `{}` is {}; allowed is {}", where_, name, json_text(value), allowed);
}

void HubFields::end(const std::set<std::string>& harmless) const {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : values_.items()) {
    if (!value.is_null() && !read_.contains(name) && !harmless.contains(name))
      unknown.push_back(name);
  }
  EVOMOE_CHECK(unknown.empty(),
               "{}: what {} mean{} is not known, and it may change what the model computes; if it "
               "does not, remove it from the file",
               where_, fmt::join(unknown, ", "), unknown.size() == 1 ? "s" : "");
}

const json* HubFields::find(const std::string& name) {
  read_.insert(name);
  for (const auto* each : {&values_, &defaults_}) {
    if (!each->is_object()) continue;
    const auto found = each->find(name);
    // What the file sets to null is off, whatever the default.
    if (found != each->end()) return found->is_null() ? nullptr : &*found;
  }
  return nullptr;
}

const std::set<std::string>& harmless_hub_fields() {
  static const std::set<std::string> names = {"_attn_implementation_autoset",
                                              "_model_name_or_path",
                                              "_name_or_path",
                                              "architectures",
                                              "attention_dropout",
                                              "auto_map",
                                              "bos_token_id",
                                              "chunk_size_feed_forward",
                                              "decoder_start_token_id",
                                              "dtype",
                                              "eos_token_id",
                                              "id2label",
                                              "init_std",
                                              "initializer_range",
                                              "is_decoder",
                                              "is_encoder_decoder",
                                              "is_llama_config",
                                              "label2id",
                                              "layerdrop",
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
                                              "task_specific_params",
                                              "torch_dtype",
                                              "transformers.js_config",
                                              "transformers_version",
                                              "unk_token_id",
                                              "use_cache"};
  return names;
}

}  // namespace evomoe
