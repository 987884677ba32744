#include "evomoe/hub/hub_tensors.h"

#include <map>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

/// Outside of blocks.
const std::map<std::string, std::string>& names_outside() {
  static const std::map<std::string, std::string> theirs = {
      {"decoder.embed_tokens.weight", "model.embed_tokens.weight"},
      {"decoder.layer_norm.weight", "model.norm.weight"},
      {"decoder.output_projection.weight", "lm_head.weight"}};
  return theirs;
}

/// Within a block, what all architectures name alike.
const std::map<std::string, std::string>& names_in_block() {
  static const std::map<std::string, std::string> theirs = [] {
    std::map<std::string, std::string> names = {
        {"self_attn_layer_norm.weight", "input_layernorm.weight"},
        {"final_layer_norm.weight", "post_attention_layernorm.weight"},
        {"self_attn.q_norm.weight", "self_attn.q_norm.weight"},
        {"self_attn.k_norm.weight", "self_attn.k_norm.weight"},
        {"fc1.weight", "mlp.gate_proj.weight"},
        {"fc2.weight", "mlp.down_proj.weight"},
        {"fc3.weight", "mlp.up_proj.weight"}};
    for (const std::string end : {".weight", ".bias"}) {
      for (const std::string each : {"q_proj", "k_proj", "v_proj"})
        names["self_attn." + each + end] = "self_attn." + each + end;
      names["self_attn.out_proj" + end] = "self_attn.o_proj" + end;
    }
    return names;
  }();
  return theirs;
}

const std::string kOurBlocks = "decoder.layers.", kTheirBlocks = "model.layers.";

/// The names of a layer's experts and router.
class MoeNames {
 public:
  MoeNames(const HubArchitecture& architecture, bool fused, const NamedTensors& ours)
      : architecture_(architecture), fused_(fused), ours_(ours) {}

  /// Adds the tensors that `name` of a block is; false when it is neither of router nor experts.
  /// `block`, `their_block`: what comes before.
  bool add(const std::string& block, const std::string& their_block, const std::string& name,
           const torch::Tensor& tensor, std::vector<HubTensor>& tensors) const {
    const auto where = their_block + (fused_ ? "mlp" : architecture_.expert_block) + ".";
    const std::string experts = "moe_layer.experts.";
    if (name == "moe_layer.gate.wg.weight") {
      tensors.push_back({where + "gate.weight", {tensor}});
    } else if (name == experts + "w1" && fused_) {
      tensors.push_back({where + "experts.gate_up_proj", {tensor, weight(block + experts + "w3")}});
    } else if (name == experts + "w2" && fused_) {
      tensors.push_back({where + "experts.down_proj", {tensor}});
    } else if (name == experts + "w3" && fused_) {
      // With w1.
    } else if (name == experts + "w1") {
      add_each(where, architecture_.gate_name, tensor, tensors);
    } else if (name == experts + "w2") {
      add_each(where, architecture_.down_name, tensor, tensors);
    } else if (name == experts + "w3") {
      add_each(where, architecture_.up_name, tensor, tensors);
    } else {
      return false;
    }
    return true;
  }

 private:
  static void add_each(const std::string& where, const std::string& name,
                       const torch::Tensor& stacked, std::vector<HubTensor>& tensors) {
    for (int64_t e = 0; e < stacked.size(0); ++e)
      tensors.push_back({fmt::format("{}experts.{}.{}.weight", where, e, name), {stacked[e]}});
  }
  const torch::Tensor& weight(const std::string& name) const {
    for (const auto& [each, tensor] : ours_) {
      if (each == name) return tensor;
    }
    fail("the model has no {}", name);
  }

  const HubArchitecture& architecture_;
  bool fused_;
  const NamedTensors& ours_;
};

}  // namespace

int64_t HubTensor::axis() const { return std::max<int64_t>(parts.front().dim() - 2, 0); }

std::vector<int64_t> HubTensor::sizes() const {
  auto sizes = parts.front().sizes().vec();
  for (size_t i = 1; i < parts.size(); ++i)
    sizes[static_cast<size_t>(axis())] += parts[i].size(axis());
  return sizes;
}

std::vector<HubTensor> hub_tensors(const HubArchitecture& architecture, const NamedTensors& ours,
                                   const std::function<bool(const std::string&)>& fused) {
  std::vector<HubTensor> tensors;
  for (const auto& [name, tensor] : ours) {
    if (const auto outside = names_outside().find(name); outside != names_outside().end()) {
      tensors.push_back({outside->second, {tensor}});
      continue;
    }
    const auto end = name.starts_with(kOurBlocks) ? name.find('.', kOurBlocks.size()) : name.npos;
    EVOMOE_CHECK(end != name.npos, "{} has no name in a model of {}", name, architecture.type);
    const auto block = name.substr(0, end + 1), rest = name.substr(end + 1);
    const auto their_block = kTheirBlocks + block.substr(kOurBlocks.size());
    if (const auto inside = names_in_block().find(rest); inside != names_in_block().end()) {
      tensors.push_back({their_block + inside->second, {tensor}});
      continue;
    }
    const MoeNames of_moe(architecture, fused(their_block), ours);
    EVOMOE_CHECK(of_moe.add(block, their_block, rest, tensor, tensors),
                 "{} has no name in a model of {}", name, architecture.type);
  }
  return tensors;
}

}  // namespace evomoe
