#include "evomoe/ops/expert_weights.h"

#include <functional>
#include <numeric>

namespace evomoe {

ExpertWeightsOf<std::vector<int64_t>> expert_shapes(const ExpertForm& form) {
  const auto E = form.experts, D = form.model_dim, H = form.hidden_dim;
  ExpertWeightsOf<std::vector<int64_t>> shapes = {.w1_EHD = {E, H, D}, .w2_EDH = {E, D, H}};
  if (form.biases) shapes.b1_EH = {E, H};
  if (form.biases) shapes.b2_ED = {E, D};
  if (form.gated) shapes.w3_EHD = {E, H, D};
  return shapes;
}

int64_t expert_numel(const ExpertForm& form) {
  int64_t numel = 0;
  for_each_weight(
      [&](const std::vector<int64_t>& shape) {
        if (!shape.empty())
          numel += std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
      },
      expert_shapes(form));
  return numel;
}

ExpertWork expert_work(const ExpertForm& form) {
  const auto one = form.model_dim * form.hidden_dim;
  const auto hidden = form.gated ? 2 * one : one;
  return {.forward = hidden + one, .hidden = hidden};
}

}  // namespace evomoe
