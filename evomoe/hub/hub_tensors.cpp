#include "evomoe/hub/hub_tensors.h"

#include <algorithm>
#include <map>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/hub/gpt2_tensors.h"
#include "evomoe/hub/state_names.h"

namespace evomoe {
namespace {

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

/// Where a layer's router and experts are in files of the family kLlama.
class MoeTensors {
 public:
  /// `block`, `their_block`: what comes before the names.
  MoeTensors(const HubArchitecture& architecture, const NamedTensors& ours, std::string block,
             std::string their_block, bool fused)
      : architecture_(architecture),
        ours_(ours),
        block_(std::move(block)),
        where_(their_block + (fused ? "mlp" : architecture.expert_block) + "."),
        fused_(fused) {}

  /// Adds the tensors that `name` of the block is; false when it is none of an MoE layer.
  bool add(const std::string& name, const torch::Tensor& tensor,
           std::vector<HubTensor>& tensors) const {
    const std::string experts = "moe_layer.experts.";
    if (name == "moe_layer.gate.wg.weight") {
      tensors.push_back({.name = where_ + "gate.weight", .parts = {tensor}});
      if (architecture_.shared_expert) add_gate_of_shared_expert(tensor, tensors);
    } else if (name == experts + "w1" && fused_) {
      tensors.push_back({.name = where_ + "experts.gate_up_proj",
                         .parts = {tensor, tensor_named(ours_, block_ + experts + "w3")}});
    } else if (name == experts + "w2" && fused_) {
      tensors.push_back({.name = where_ + "experts.down_proj", .parts = {tensor}});
    } else if (name == experts + "w3" && fused_) {
      // With w1.
    } else if (name == experts + "w1") {
      add_each(architecture_.gate_name, tensor, tensors);
    } else if (name == experts + "w2") {
      add_each(architecture_.down_name, tensor, tensors);
    } else if (name == experts + "w3") {
      add_each(architecture_.up_name, tensor, tensors);
    } else if (name == "fc1.weight" || name == "fc2.weight" || name == "fc3.weight") {
      add_shared_expert(name, tensor, tensors);
    } else {
      return false;
    }
    return true;
  }

 private:
  void add_each(const std::string& name, const torch::Tensor& stacked,
                std::vector<HubTensor>& tensors) const {
    for (int64_t e = 0; e < stacked.size(0); ++e) {
      tensors.push_back(
          {.name = fmt::format("{}experts.{}.{}.weight", where_, e, name), .parts = {stacked[e]}});
    }
  }
  /// Their gate weighs a shared expert by a half when it is zero; ours has none, and weight 1.
  void add_gate_of_shared_expert(const torch::Tensor& gate_ED,
                                 std::vector<HubTensor>& tensors) const {
    const auto D = gate_ED.size(1);
    const auto add_zeros = [&](const char* name, std::vector<int64_t> sizes) {
      tensors.push_back({.name = where_ + name,
                         .parts = {torch::zeros(sizes, gate_ED.options().requires_grad(false))},
                         .zeros = true});
    };
    add_zeros("shared_expert_gate.weight", {1, D});
    const bool has_one = std::ranges::any_of(
        ours_, [&](const auto& entry) { return entry.first == block_ + "fc1.weight"; });
    if (has_one) return;
    add_zeros("shared_expert.gate_proj.weight", {0, D});
    add_zeros("shared_expert.up_proj.weight", {0, D});
    add_zeros("shared_expert.down_proj.weight", {D, 0});
  }
  void add_shared_expert(const std::string& name, const torch::Tensor& tensor,
                         std::vector<HubTensor>& tensors) const {
    const bool down = name == "fc2.weight";
    const auto* theirs = down ? "down_proj" : name == "fc1.weight" ? "gate_proj" : "up_proj";
    tensors.push_back({.name = fmt::format("{}shared_expert.{}.weight", where_, theirs),
                       .parts = {tensor},
                       .scale = down ? 2.0 : 1.0});
  }

  const HubArchitecture& architecture_;
  const NamedTensors& ours_;
  std::string block_, where_;
  bool fused_;
};

std::vector<HubTensor> llama_tensors(const HubArchitecture& architecture, const GptOptions& gpt,
                                     const NamedTensors& ours,
                                     const std::function<bool(const std::string&)>& fused) {
  const std::map<std::string, std::string> outside = {
      {"decoder.embed_tokens.weight", architecture.embedding},
      {"decoder.layer_norm.weight", architecture.base + "norm.weight"},
      {"decoder.output_projection.weight", architecture.head}};
  std::vector<HubTensor> tensors;
  for (const auto& [name, tensor] : ours) {
    if (is_of_training(name)) continue;
    if (const auto found = outside.find(name); found != outside.end()) {
      tensors.push_back({.name = found->second, .parts = {tensor}});
      continue;
    }
    const auto of_block = parse_block_tensor(name);
    EVOMOE_CHECK(of_block, "{} has no name in a model of {}", name, architecture.type);
    const auto their_block = fmt::format("{}layers.{}.", architecture.base, of_block->layer);
    if (gpt.is_moe(of_block->layer)) {
      const MoeTensors of_moe(architecture, ours, of_block->block, their_block, fused(their_block));
      if (of_moe.add(of_block->rest, tensor, tensors)) continue;
    }
    const auto inside = names_in_block().find(of_block->rest);
    EVOMOE_CHECK(inside != names_in_block().end(), "{} has no name in a model of {}", name,
                 architecture.type);
    tensors.push_back({.name = their_block + inside->second, .parts = {tensor}});
  }
  return tensors;
}

/// Under our names, but for what they begin with.
std::vector<HubTensor> renamed_tensors(const HubArchitecture& architecture,
                                       const NamedTensors& ours) {
  const std::string decoder = "decoder.";
  std::vector<HubTensor> tensors;
  for (const auto& [name, tensor] : ours) {
    if (is_of_training(name)) continue;
    EVOMOE_CHECK(name.starts_with(decoder), "{} has no name in a model of {}", name,
                 architecture.type);
    tensors.push_back({.name = name == "decoder.output_projection.weight"
                                   ? architecture.head
                                   : architecture.base + name.substr(decoder.size()),
                       .parts = {tensor}});
  }
  return tensors;
}

std::vector<HubTensor> tensors_of_family(const HubArchitecture& architecture, const GptOptions& gpt,
                                         const NamedTensors& ours,
                                         const std::function<bool(const std::string&)>& fused) {
  switch (architecture.family) {
    case HubFamily::kLlama:
      return llama_tensors(architecture, gpt, ours, fused);
    case HubFamily::kGpt2:
      return gpt2_tensors(gpt, ours);
    case HubFamily::kFairseq:
    case HubFamily::kEvomoe:
      return renamed_tensors(architecture, ours);
  }
  fail("the architecture {} has no names of tensors", architecture.type);
}

}  // namespace

int64_t HubTensor::axis() const { return std::max<int64_t>(parts.front().dim() - 2, 0); }

std::vector<int64_t> HubTensor::sizes() const {
  auto sizes = parts.front().sizes().vec();
  for (size_t i = 1; i < parts.size(); ++i)
    sizes[static_cast<size_t>(axis())] += parts[i].size(axis());
  if (transposed) std::swap(sizes.at(sizes.size() - 2), sizes.back());
  return sizes;
}

torch::Tensor HubTensor::theirs() const {
  auto tensor = parts.size() == 1 ? parts.front() : torch::cat(parts, axis());
  if (scale != 1) tensor = tensor * scale;
  return transposed ? tensor.transpose(-2, -1) : tensor;
}

void HubTensor::take(const torch::Tensor& theirs) const {
  if (zeros) {
    EVOMOE_CHECK(theirs.count_nonzero().item<int64_t>() == 0,
                 "{} is not zero: it weighs a shared expert by each token, and shared experts here "
                 "always have weight 1",
                 name);
    return;
  }
  const auto from = transposed ? theirs.transpose(-2, -1) : theirs;
  int64_t begin = 0;
  for (auto part : parts) {
    const auto rows = part.size(axis());
    part.copy_(from.slice(axis(), begin, begin + rows));
    if (scale != 1) part.div_(scale);
    begin += rows;
  }
}

std::vector<HubTensor> hub_tensors(const HubArchitecture& architecture, const GptOptions& gpt,
                                   const NamedTensors& ours,
                                   const std::function<bool(const std::string&)>& fused) {
  auto tensors = tensors_of_family(architecture, gpt, ours, fused);
  for (auto& each : tensors)
    each.of_tokens = each.name == architecture.embedding || each.name == architecture.head;
  return tensors;
}

}  // namespace evomoe
