#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/optim/named_parameter.h"

namespace evomoe {

/// A tensor that an optimiser keeps of a parameter, of float32 (float64 for float64 parameters), 0
/// at first.
struct StateSlot {
  std::string name;  ///< in checkpoints it is "<parameter>.<name>"
  std::vector<int64_t> sizes;
  /// How it grows with the gradient: 1 averages gradients, 2 their squares, 0 updates whose size
  /// does not depend on the gradient's.
  int gradient_power = 1;
};

/// The numbers of one update of one parameter.
struct UpdateArguments {
  double lr = 0;              ///< with the factor of the parameter's kind
  double weight_decay = 0;    ///< decoupled: p <- p - lr wd p, whatever the gradient
  double gradient_scale = 1;  ///< the gradient is multiplied by it first
  int64_t step = 1;           ///< updates of this parameter, this one included
};

/// What makes an optimiser: the state that it keeps of a parameter, and how it updates one. All
/// else (steps, checkpoints, offloading, spawned experts) is the same for all (optimizer.h). A rule
/// holds its options and nothing that changes.
///
/// The weights and biases of experts (ParameterKind::kExpert) are stacked: their first axis counts
/// parameters that are independent of each other, and a rule must treat them so.
class UpdateRule {
 public:
  virtual ~UpdateRule() = default;

  /// Its name as --optimizer has it.
  virtual std::string name() const = 0;
  /// Depends on kind and sizes alone; what is first is the same for one expert and for all.
  virtual std::vector<StateSlot> slots(ParameterKind kind, at::IntArrayRef sizes) const = 0;
  /// Updates `parameter` and its `state` (beside the slots) in place; the gradient stays.
  virtual void update(const NamedParameter& parameter, const torch::Tensor& gradient,
                      std::vector<torch::Tensor>& state, const UpdateArguments& with) const = 0;
  /// Whether each element is updated from its own gradient and state alone, so that a part of a
  /// parameter can be updated without the rest (--zero-stage).
  virtual bool is_elementwise() const { return true; }
  /// The learning rate of a parameter's update `step` (from 1) where the schedule says `scheduled`.
  virtual double learning_rate(double scheduled, int64_t step) const { return scheduled; }
};

/// The type of a parameter's state.
inline torch::ScalarType state_type(const torch::Tensor& parameter) {
  return parameter.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

/// Whether the loops in kernels/cpu can have it: contiguous float32 on the CPU.
inline bool has_raw_floats(const torch::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.scalar_type() == torch::kFloat32 &&
         tensor.is_contiguous();
}

}  // namespace evomoe
