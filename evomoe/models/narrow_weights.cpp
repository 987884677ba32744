#include "evomoe/models/narrow_weights.h"

#include "evomoe/models/linear.h"
#include "evomoe/models/parameter_kinds.h"
#include "evomoe/moe/expert_bank.h"

namespace evomoe {
namespace {

/// The axes that a matrix of this module has; 0: what is computed with the module's parameters
/// takes float32 alone.
int64_t axes_of_matrices(const torch::nn::Module& module) {
  if (dynamic_cast<const ExpertBankImpl*>(&module) != nullptr) return 3;
  const bool is_linear = dynamic_cast<const LinearImpl*>(&module) != nullptr;
  const bool is_table_or_head = dynamic_cast<const ModuleOfKind*>(&module) != nullptr;
  return is_linear || is_table_or_head ? 2 : 0;
}

}  // namespace

void keep_matrices_in_bfloat16(torch::nn::Module& model) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model.parameters()) parameter.requires_grad_(false);
  for (const auto& module : model.modules()) {
    const auto axes = axes_of_matrices(*module);
    for (auto& parameter : module->parameters(/*recurse=*/false)) {
      if (parameter.dim() == axes) parameter.set_data(parameter.to(torch::kBFloat16));
    }
  }
}

}  // namespace evomoe
