#include "evomoe/fairseq/fairseq_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

namespace evomoe {
namespace {

constexpr std::string_view kHeads = "classification_heads";

/// The parts of names. Those of one module stand in the order in which it registers them; its own
/// parameters come before those of its children.
constexpr std::string_view kWords[] = {
    "weight", "bias",
    // a model, and the encoder of a RoBERTa
    "encoder", "decoder", kHeads, "sentence_encoder", "lm_head",
    // an encoder or a decoder
    "embed_tokens", "embed_positions", "layernorm_embedding", "layers",
    // a layer
    "self_attn", "self_attn_layer_norm", "encoder_attn", "encoder_attn_layer_norm", "fc1", "fc2",
    "moe_layer", "final_layer_norm",
    // attention and heads
    "k_proj", "v_proj", "q_proj", "dense", "out_proj", "layer_norm",
    // a mixture of experts
    "gate", "wg", "experts",
    // adaptive input and softmax, and the plain output
    "embeddings", "adaptive_softmax", "head", "word_proj", "class_proj", "tail",
    "output_projection"};

/// One step for each part of a name; heads of sentences have names of the user.
using Place = std::vector<std::pair<int64_t, std::string_view>>;

/// Nothing where a part is unknown.
std::optional<Place> place_of(std::string_view name) {
  Place place;
  bool of_user = false;
  while (!name.empty()) {
    const auto part = name.substr(0, name.find('.'));
    name.remove_prefix(std::min(part.size() + 1, name.size()));
    const auto word = std::find(std::begin(kWords), std::end(kWords), part);
    int64_t number = 0;
    const auto read = std::from_chars(part.data(), part.data() + part.size(), number);
    if (of_user) {
      place.emplace_back(0, part);
    } else if (word != std::end(kWords)) {
      place.emplace_back(word - std::begin(kWords), "");
    } else if (read.ec == std::errc() && read.ptr == part.data() + part.size()) {
      place.emplace_back(number, "");
    } else {
      return std::nullopt;
    }
    of_user = !of_user && part == kHeads;
  }
  return place;
}

bool has_part(const std::string& name, const char* part) {
  return ("." + name + ".").find(fmt::format(".{}.", part)) != std::string::npos;
}

}  // namespace

std::vector<std::string> in_parameter_order(std::vector<std::string> names) {
  std::vector<std::pair<std::optional<Place>, const std::string*>> places;
  for (const auto& name : names) places.emplace_back(place_of(name), &name);
  std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) {
    if (a.first.has_value() != b.first.has_value()) return a.first.has_value();
    return a.first != b.first ? *a.first < *b.first : *a.second < *b.second;
  });
  std::vector<std::string> ordered;
  for (const auto& [place, name] : places) ordered.push_back(*name);
  return ordered;
}

bool has_parameter_order(const std::string& name) { return place_of(name).has_value(); }

bool is_embedding(const std::string& name) { return has_part(name, "embed_tokens"); }

bool may_be_embedding(const std::string& name) {
  return is_embedding(name) || has_part(name, "output_projection") || has_part(name, "lm_head") ||
         has_part(name, "adaptive_softmax");
}

bool is_derived(const std::string& name) {
  return name.ends_with("_float_tensor") || name.ends_with(".version");
}

bool is_expert(const std::string& name, std::smatch& match) {
  static const std::regex pattern(
      R"((.*\.moe_layer\.experts)\.(\d{1,6})\.(fc1|fc2)\.(weight|bias)(\..*)?)");
  // std::regex calls itself for each character: a long name would use up the stack.
  constexpr size_t kLongest = 1000;
  return name.size() <= kLongest && std::regex_match(name, match, pattern);
}

bool is_expert(const std::string& name) {
  std::smatch parts;
  return is_expert(name, parts);
}

}  // namespace evomoe
