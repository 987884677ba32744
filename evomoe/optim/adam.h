#pragma once

#include "evomoe/optim/adam_options.h"
#include "evomoe/optim/update_rule.h"

namespace evomoe {

/// Adam (arXiv 1412.6980) with decoupled weight decay (arXiv 1711.05101), in the form of the
/// authors' code:
///
///     m <- beta1 m + (1-beta1) g,   v <- beta2 v + (1-beta2) g^2,   p <- p - lr wd p,
///     p <- p - lr sqrt(1-beta2^t) / (1-beta1^t) * m / (sqrt(v) + eps)
///
/// eps is added to the square root of the *uncorrected* v. State: "exp_avg" m and "exp_avg_sq" v,
/// each of the parameter's shape.
class Adam : public UpdateRule {
 public:
  /// Throws UsageError when a value is out of range; its message names the flags of `prefix`, e.g.
  /// --adam-betas.
  explicit Adam(AdamOptions options, const char* prefix = "--adam");

  std::string name() const override { return AdamOptions::kMethod; }
  std::vector<StateSlot> slots(ParameterKind kind, at::IntArrayRef sizes) const override;
  void update(const NamedParameter& parameter, const torch::Tensor& gradient,
              std::vector<torch::Tensor>& state, const UpdateArguments& with) const override;

 private:
  AdamOptions options_;
};

}  // namespace evomoe
