#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "evomoe/optim/named_parameter.h"

namespace evomoe {

/// Flags --adam-betas, --adam-eps and --weight-decay, with fairseq's defaults.
struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;

  /// Throws UsageError when a value is out of range.
  void validate() const;
};

/// Adam (arXiv 1412.6980) with decoupled weight decay (arXiv 1711.05101), in the form of the
/// authors' code:
///
///     m <- beta1 m + (1-beta1) g,   v <- beta2 v + (1-beta2) g^2,   p <- p - lr wd p,
///     p <- p - lr sqrt(1-beta2^t) / (1-beta1^t) * m / (sqrt(v) + eps)
///
/// eps is added to the square root of the *uncorrected* v. Weight decay acts on every parameter.
/// Moments are fp32 (fp64 for fp64 parameters). Each parameter counts its own steps t. A parameter
/// whose gradient is undefined is skipped; one with a zero gradient is not: its moments and weight
/// decay still act.
class Adam {
 public:
  /// `offload`: a folder on whose disk the moments of large CPU parameters live instead of in
  /// memory; each update reads and writes them all. Empty: none. Throws UsageError for bad options
  /// and for a folder that is none or has no room for them, Error for an undefined tensor or a name
  /// that comes twice.
  Adam(std::vector<NamedParameter> parameters, AdamOptions options,
       std::filesystem::path offload = {});

  /// One update of every parameter that has a gradient. Each gradient is multiplied by
  /// `gradient_scale` (1/sample_size times the clip coefficient) on the way; the gradient itself
  /// stays as it is.
  void step(double lr, double gradient_scale = 1.0);

  /// Drops the gradients: the next ones are then taken over as they are made, not added to zeros.
  void zero_grad();

  const std::vector<NamedParameter>& parameters() const { return parameters_; }
  const AdamOptions& options() const { return options_; }

  /// The state: "<parameter>.step" (int64 scalar) for every parameter, and "<parameter>.exp_avg",
  /// "<parameter>.exp_avg_sq" (shape of the parameter) for those that were updated at least once.
  /// The tensors are the live ones, not copies.
  std::map<std::string, torch::Tensor> state_dict() const;

  /// Restores a state_dict(), copying its tensors. Missing, unknown and wrongly shaped entries are
  /// one Error that lists them; the state is then left as it was.
  void load_state_dict(const std::map<std::string, torch::Tensor>& state);

  /// Transforms a moment into that of the parameter that takes the place; `second` tells m from v.
  using MomentTransform = std::function<torch::Tensor(torch::Tensor moment, bool second)>;

  /// Puts `new_tensor`, of any shape, in the place of parameter `name` (one expert becomes E when
  /// experts are spawned). Its moments become transform(old moment) and must have the new shape;
  /// the step count is kept. Throws Error for an unknown name or a wrong shape, and then changes
  /// nothing.
  void replace(const std::string& name, torch::Tensor new_tensor, const MomentTransform& transform);

 private:
  struct State {
    torch::Tensor exp_avg;     // m; undefined before the first step
    torch::Tensor exp_avg_sq;  // v
    int64_t step = 0;          // t
  };

  bool offloads(const torch::Tensor& parameter) const;
  torch::Tensor new_moment(const torch::Tensor& parameter) const;  ///< zeros
  void check_room() const;

  std::vector<NamedParameter> parameters_;
  std::vector<State> states_;  // beside parameters_
  std::unordered_map<std::string, size_t> index_;
  AdamOptions options_;
  std::filesystem::path offload_;
};

}  // namespace evomoe
