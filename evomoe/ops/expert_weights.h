#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <type_traits>
#include <vector>

#include "evomoe/base/expert_weights.h"

namespace evomoe {

/// The weights of experts; undefined where the experts do not have one.
using ExpertWeights = ExpertWeightsOf<torch::Tensor>;

/// f(tensor) of each weight that the experts have, as ExpertWeightsOf<what f returns>.
template <typename F>
auto of_each_weight(const ExpertWeights& weights, const F& f) {
  ExpertWeightsOf<std::decay_t<std::invoke_result_t<F, const torch::Tensor&>>> made;
  for_each_weight(
      [&](auto& to, const torch::Tensor& tensor) {
        if (tensor.defined()) to = f(tensor);
      },
      made, weights);
  return made;
}

/// What a layer's experts are.
struct ExpertForm {
  int64_t experts = 0, model_dim = 0, hidden_dim = 0;  ///< E, D, H
  bool gated = false;
  bool biases = true;
};

/// The shape of each weight; empty: the experts do not have it.
ExpertWeightsOf<std::vector<int64_t>> expert_shapes(const ExpertForm& form);

/// Numbers in the weights of all experts.
int64_t expert_numel(const ExpertForm& form);

/// Multiply-adds of one assignment.
struct ExpertWork {
  int64_t forward = 0;
  int64_t hidden = 0;  ///< of them, those that make the hidden values (x w1^T, x w3^T)
};
ExpertWork expert_work(const ExpertForm& form);

}  // namespace evomoe
