#include "evomoe/hub/gpt2_tensors.h"

#include <cmath>
#include <map>

#include "evomoe/base/error.h"
#include "evomoe/hub/state_names.h"
#include "evomoe/models/positions.h"

namespace evomoe {
namespace {

const std::map<std::string, std::string>& norms_of_block() {
  static const std::map<std::string, std::string> theirs = {{"self_attn_layer_norm", "ln_1"},
                                                            {"final_layer_norm", "ln_2"}};
  return theirs;
}

const std::map<std::string, std::string>& matrices_of_block() {
  static const std::map<std::string, std::string> theirs = {
      {"self_attn.out_proj", "attn.c_proj"}, {"fc1", "mlp.c_fc"}, {"fc2", "mlp.c_proj"}};
  return theirs;
}

/// A tensor of a block; nothing is added for keys and values, which come with the queries.
void add_of_block(const BlockTensorName& name, const torch::Tensor& tensor,
                  const NamedTensors& ours, std::vector<HubTensor>& tensors) {
  const auto dot = name.rest.rfind('.');
  EVOMOE_CHECK(dot != std::string::npos, "{}{} has no name in GPT-2", name.block, name.rest);
  const auto module = name.rest.substr(0, dot), end = name.rest.substr(dot);
  const auto block = fmt::format("transformer.h.{}.", name.layer);
  const bool matrix = end == ".weight";
  if (module == "self_attn.k_proj" || module == "self_attn.v_proj") return;
  if (module == "self_attn.q_proj") {
    const auto of = [&](const char* each) {
      return tensor_named(ours, name.block + "self_attn." + each + end);
    };
    tensors.push_back({.name = block + "attn.c_attn" + end,
                       .parts = {tensor, of("k_proj"), of("v_proj")},
                       .transposed = matrix});
  } else if (const auto norm = norms_of_block().find(module); norm != norms_of_block().end()) {
    tensors.push_back({.name = block + norm->second + end, .parts = {tensor}});
  } else {
    const auto found = matrices_of_block().find(module);
    EVOMOE_CHECK(found != matrices_of_block().end(), "{}{} has no name in GPT-2", name.block,
                 name.rest);
    tensors.push_back(
        {.name = block + found->second + end, .parts = {tensor}, .transposed = matrix});
  }
}

}  // namespace

bool gpt2_ties(const GptOptions& gpt) { return gpt.tie_embeddings && !gpt.scale_embedding; }

std::vector<HubTensor> gpt2_tensors(const GptOptions& gpt, const NamedTensors& ours) {
  const std::string head = "lm_head.weight", positions = "transformer.wpe.weight";
  // What comes before is the row of padding.
  const auto first = gpt.padding_index + 1;
  std::vector<HubTensor> tensors;
  for (const auto& [name, tensor] : ours) {
    if (const auto of_block = parse_block_tensor(name)) {
      add_of_block(*of_block, tensor, ours, tensors);
    } else if (name == "decoder.embed_tokens.weight") {
      HubTensor table{.name = "transformer.wte.weight", .parts = {tensor}};
      if (gpt.scale_embedding) table.scale = std::sqrt(static_cast<double>(gpt.embed_dim));
      tensors.push_back(table);
      if (gpt.tie_embeddings && !gpt2_ties(gpt))
        tensors.push_back({.name = head, .parts = {tensor}});
    } else if (name == "decoder.embed_positions.weight") {
      tensors.push_back({.name = positions, .parts = {tensor.slice(0, first)}});
    } else if (name == "decoder.output_projection.weight") {
      tensors.push_back({.name = head, .parts = {tensor}});
    } else {
      const std::string norm = "decoder.layer_norm.";
      EVOMOE_CHECK(name.starts_with(norm), "{} has no name in GPT-2", name);
      tensors.push_back(
          {.name = "transformer.ln_f." + name.substr(norm.size()), .parts = {tensor}});
    }
  }
  if (gpt.positions == PositionKind::kSinusoidal) {
    const auto table =
        sinusoidal_table(gpt.max_positions + first, gpt.embed_dim, gpt.padding_index);
    tensors.push_back({.name = positions, .parts = {table.slice(0, first)}});
  }
  return tensors;
}

}  // namespace evomoe
