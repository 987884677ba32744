#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "evomoe/optim/lr_factors.h"
#include "evomoe/optim/named_parameter.h"
#include "evomoe/optim/update_rule.h"

namespace evomoe {

/// What every optimiser has, whatever its rule.
struct OptimizerSettings {
  double weight_decay = 0.0;  ///< decoupled (arXiv 1711.05101), of every parameter
  LrFactors lr_factors;
  /// A folder on whose disk the large tensors of the state of CPU parameters live instead of in
  /// memory; each update reads and writes them all. Empty: none.
  std::filesystem::path offload;
};

/// Parameters, what an update rule keeps of each, and the order of an update. Each parameter counts
/// its own steps. A parameter whose gradient is undefined is skipped; one with a zero gradient is
/// not: its state and weight decay still act.
class Optimizer {
 public:
  /// Throws UsageError for a bad weight decay and a folder that is none or has no room, Error for
  /// an undefined tensor or a name that comes twice.
  Optimizer(std::vector<NamedParameter> parameters, std::unique_ptr<const UpdateRule> rule,
            OptimizerSettings settings = {});

  /// One update of every parameter that has a gradient. Each gradient is multiplied by
  /// `gradient_scale` (1/sample_size times the clip coefficient) on the way; the gradient itself
  /// stays as it is.
  void step(double lr, double gradient_scale = 1.0);

  /// Drops the gradients: the next ones are then taken over as they are made, not added to zeros.
  void zero_grad();

  /// The learning rate of update `step` (from 1) where the schedule says `scheduled`, before
  /// factors by kind.
  double learning_rate(double scheduled, int64_t step) const {
    return rule_->learning_rate(scheduled, step);
  }

  const std::vector<NamedParameter>& parameters() const { return parameters_; }

  /// Beside parameters(): which of them were updated at least once.
  std::vector<bool> updated() const;

  /// The state: "<parameter>.step" (int64 scalar) for every parameter, and "<parameter>.<slot>" of
  /// each slot of the rule for those that were updated at least once. The tensors are the live
  /// ones, not copies.
  std::map<std::string, torch::Tensor> state_dict() const;

  /// Restores a state_dict(), copying its tensors. Missing, unknown and wrongly shaped entries are
  /// one Error that lists them; the state is then left as it was.
  void load_state_dict(const std::map<std::string, torch::Tensor>& state);

  /// Transforms a tensor of the state into that of the parameter that takes the place;
  /// `gradient_power` is its slot's.
  using MomentTransform = std::function<torch::Tensor(torch::Tensor moment, int gradient_power)>;

  /// Puts `new_tensor`, of any shape, in the place of parameter `name` (one expert becomes E when
  /// experts are spawned). Each tensor of its state becomes transform(old tensor) and must have the
  /// shape that the rule wants for the new one; the step count is kept. Throws Error for an unknown
  /// name or a wrong shape, and then changes nothing.
  void replace(const std::string& name, torch::Tensor new_tensor, const MomentTransform& transform);

  /// Bytes of the state that are in memory, not on disk.
  int64_t resident_bytes() const;

 private:
  struct State {
    std::vector<torch::Tensor> tensors;  // beside the rule's slots; none before the first step
    int64_t step = 0;
  };

  std::vector<StateSlot> slots(size_t index) const;
  bool offloads(const torch::Tensor& parameter, const StateSlot& slot) const;
  torch::Tensor new_tensor(const torch::Tensor& parameter, const StateSlot& slot) const;  // zeros
  void leave_memory(size_t index) const;
  void check_room() const;

  std::vector<NamedParameter> parameters_;
  std::vector<State> states_;  // beside parameters_
  std::unordered_map<std::string, size_t> index_;
  std::unique_ptr<const UpdateRule> rule_;
  OptimizerSettings settings_;
};

/// Bytes of the state that `rule` keeps of a float32 parameter of such sizes; with `offload` those
/// that stay in memory.
int64_t state_bytes(const UpdateRule& rule, ParameterKind kind, at::IntArrayRef sizes,
                    bool offload);

}  // namespace evomoe
