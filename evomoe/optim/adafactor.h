#pragma once

#include "evomoe/optim/adafactor_options.h"
#include "evomoe/optim/update_rule.h"

namespace evomoe {

/// Adafactor (arXiv 1804.04235) in the form of fairseq's optim/adafactor.py. With t the step,
/// b = 1 - t^decay_rate and RMS the root mean square of all elements:
///
///     matrices: r <- b r + (1-b) mean over columns of (g^2 + eps1),   c the same over rows,
///               u = g / sqrt(r c^T / mean(r))
///     vectors:  v <- b v + (1-b) (g^2 + eps1),   u = g / sqrt(v)
///     u <- lr u / max(1, RMS(u) / clip_threshold)
///     with beta1: m <- beta1 m + (1-beta1) u,   u = m
///     p <- p - lr wd p - u
///
/// lr is that of the schedule, or with relative_step min(1e-2, 1/sqrt(t)), with warmup_init
/// min(1e-6 t, 1/sqrt(t)). With scale_parameter each parameter's is multiplied by max(eps2,
/// RMS(p)). (fairseq multiplies the rate of the whole group by it, so that without relative_step it
/// shrinks from one parameter of a step to the next; here each parameter has its own.)
///
/// Of experts that are stacked each one is a matrix or vector of its own, as fairseq's are; of more
/// than two axes the last two are factored. State: "exp_avg_sq_row", "exp_avg_sq_col" (r and c, the
/// parameter's shape without its last and without its last but one axis) or "exp_avg_sq" (v); with
/// beta1 also "exp_avg" (m).
class Adafactor : public UpdateRule {
 public:
  /// Throws UsageError when a value is out of range, and for warmup_init without relative_step.
  explicit Adafactor(AdafactorOptions options);

  std::string name() const override { return AdafactorOptions::kMethod; }
  std::vector<StateSlot> slots(ParameterKind kind, at::IntArrayRef sizes) const override;
  bool is_elementwise() const override { return false; }
  void update(const NamedParameter& parameter, const torch::Tensor& gradient,
              std::vector<torch::Tensor>& state, const UpdateArguments& with) const override;
  double learning_rate(double scheduled, int64_t step) const override;

 private:
  AdafactorOptions options_;
};

}  // namespace evomoe
