#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>

#include "evomoe/base/parameter_kind.h"

namespace evomoe {

/// A module whose parameters, and those of the modules in it, are of one kind; norms in it stay
/// norms.
class ModuleOfKind : public torch::nn::Module {
 public:
  explicit ModuleOfKind(ParameterKind kind) : kind_(kind) {}
  ParameterKind kind() const { return kind_; }

 private:
  ParameterKind kind_;
};

inline std::shared_ptr<ModuleOfKind> module_of_kind(ParameterKind kind) {
  return std::make_shared<ModuleOfKind>(kind);
}

/// The kind of each parameter of a module, by its name. Experts, routers, norms, adaptive input and
/// adaptive softmax are known by their types, ModuleOfKind says its own; what is in none of them is
/// a bias (one axis or none) or a matrix.
std::map<std::string, ParameterKind> parameter_kinds(const torch::nn::Module& module);

}  // namespace evomoe
