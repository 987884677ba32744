#pragma once

#include "evomoe/optim/adam.h"
#include "evomoe/optim/muon_options.h"
#include "evomoe/optim/update_rule.h"

namespace evomoe {

/// Muon (Keller Jordan, https://kellerjordan.github.io/posts/muon): momentum whose update is made
/// orthogonal, for the matrices of attention and feed-forward blocks and of each expert:
///
///     m <- beta m + (1-beta) g,   u = orthogonalize(beta m + (1-beta) g),
///     p <- p - lr wd p - lr s u
///
/// s is max(1, rows/columns)^.5 (`original`) or .2 sqrt(max(rows, columns)) (`moonlight`, arXiv
/// 2502.16982: updates are then as large as Adam's, so that both can have one learning rate).
/// Experts that are stacked are matrices of their own. Products are of the parameter's type, not of
/// bfloat16 as in the original.
///
/// Embeddings, heads, norms, biases and routers are updated by Adam, with a learning rate
/// `adam_lr_factor` times as large. State: "momentum_buffer" m of the parameter's shape, or Adam's.
class Muon : public UpdateRule {
 public:
  /// Throws UsageError when a value is out of range.
  explicit Muon(MuonOptions options);

  std::string name() const override { return MuonOptions::kMethod; }
  std::vector<StateSlot> slots(ParameterKind kind, at::IntArrayRef sizes) const override;
  bool is_elementwise() const override { return false; }
  void update(const NamedParameter& parameter, const torch::Tensor& gradient,
              std::vector<torch::Tensor>& state, const UpdateArguments& with) const override;

 private:
  MuonOptions options_;
  Adam adam_;
};

}  // namespace evomoe
