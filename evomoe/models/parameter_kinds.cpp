#include "evomoe/models/parameter_kinds.h"

#include <optional>

#include "evomoe/models/adaptive_input.h"
#include "evomoe/models/adaptive_softmax.h"
#include "evomoe/models/norm.h"
#include "evomoe/moe/expert_bank.h"
#include "evomoe/routing/router.h"

namespace evomoe {
namespace {

template <typename T>
bool is_a(const torch::nn::Module& module) {
  return dynamic_cast<const T*>(&module) != nullptr;
}

std::optional<ParameterKind> own_kind(const torch::nn::Module& module) {
  if (is_a<ExpertBankImpl>(module)) return ParameterKind::kExpert;
  if (is_a<Router>(module)) return ParameterKind::kRouter;
  if (is_a<NormImpl>(module)) return ParameterKind::kNorm;
  if (is_a<AdaptiveInputImpl>(module)) return ParameterKind::kEmbedding;
  if (is_a<AdaptiveSoftmaxImpl>(module)) return ParameterKind::kHead;
  if (const auto* says = dynamic_cast<const ModuleOfKind*>(&module)) return says->kind();
  return std::nullopt;
}

void collect(const torch::nn::Module& module, const std::string& prefix,
             std::optional<ParameterKind> outer, std::map<std::string, ParameterKind>& kinds) {
  const auto own = own_kind(module);
  const auto kind = own ? own : outer;
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    const auto otherwise = item.value().dim() > 1 ? ParameterKind::kMatrix : ParameterKind::kBias;
    kinds[prefix + item.key()] = kind.value_or(otherwise);
  }
  for (const auto& child : module.named_children())
    collect(*child.value(), prefix + child.key() + ".", kind, kinds);
}

}  // namespace

std::map<std::string, ParameterKind> parameter_kinds(const torch::nn::Module& module) {
  std::map<std::string, ParameterKind> kinds;
  collect(module, "", std::nullopt, kinds);
  return kinds;
}

}  // namespace evomoe
