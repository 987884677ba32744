#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace evomoe::testing {

/// The largest difference between the gradients that autograd gives for `function` (a scalar of
/// float64 tensors) and central differences, relative to max(1, |gradient|). Every input must get a
/// gradient.
inline double gradient_error(
    const std::function<torch::Tensor(const std::vector<torch::Tensor>&)>& function,
    const std::vector<torch::Tensor>& values) {
  std::vector<torch::Tensor> inputs;
  for (const auto& value : values) {
    inputs.push_back(value.detach().clone().requires_grad_(true));
  }
  const auto gradients = torch::autograd::grad({function(inputs)}, inputs);
  const torch::NoGradGuard no_grad;
  constexpr double kStep = 1e-5;
  double worst = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    auto flat = inputs[i].view(-1);
    const auto gradient = gradients[i].reshape(-1);
    for (int64_t j = 0; j < flat.size(0); ++j) {
      const double at = flat[j].item<double>();
      flat[j] = at + kStep;
      const double above = function(inputs).item<double>();
      flat[j] = at - kStep;
      const double below = function(inputs).item<double>();
      flat[j] = at;
      const double difference = (above - below) / (2 * kStep);
      const double given = gradient[j].item<double>();
      worst = std::max(worst, std::abs(given - difference) / std::max(1.0, std::abs(difference)));
    }
  }
  return worst;
}

}  // namespace evomoe::testing
