#include "evomoe/ops/expert_mlp_passes.h"

#include "evomoe/base/error.h"
#include "evomoe/ops/expert_mlp_of_plan.h"
#include "evomoe/ops/expert_mlp_plan.h"

namespace evomoe {
namespace {

using torch::Tensor;

void check_places(const ExpertWeights& into, const ExpertWeights& weights) {
  for_each_weight(
      [](const Tensor& place, const Tensor& weight, const char* name) {
        if (!place.defined()) return;
        EVOMOE_CHECK(weight.defined(),
                     "there is a place for the gradient of {}, which the experts "
                     "do not have",
                     name);
        EVOMOE_CHECK(place.sizes() == weight.sizes() &&
                         place.options().type_equal(weight.options()) &&
                         (place.size(0) == 0 || has_dense_experts(place)),
                     "the place for the gradient of {} must be like it, {} {}, each expert's own "
                     "numbers contiguous; it is {} {} with strides {}",
                     name, weight.toString(), c10::str(weight.sizes()), place.toString(),
                     c10::str(place.sizes()), c10::str(place.strides()));
      },
      into, weights, kExpertWeightNames);
}

}  // namespace

ExpertMlpOutput expert_mlp_forward(const Tensor& x_TD, const Tensor& token_A,
                                   const Tensor& weight_A, const Tensor& offset_E1,
                                   const ExpertWeights& weights, const ExpertMlpOptions& options,
                                   bool keep_hidden) {
  const torch::NoGradGuard no_grad;
  const auto token = token_A.contiguous();
  const auto plan = expert_mlp_plan(x_TD, token, weight_A, offset_E1, weights, options);
  return forward_of_plan(x_TD.contiguous(), weight_A.contiguous(), dense_experts(weights), token,
                         plan, keep_hidden, /*act_sum_EH=*/nullptr);
}

ExpertMlpGradients expert_mlp_backward(const Tensor& x_TD, const Tensor& token_A,
                                       const Tensor& weight_A, const Tensor& offset_E1,
                                       const ExpertWeights& weights,
                                       const ExpertMlpOptions& options,
                                       const ExpertMlpHidden& hidden, const Tensor& grad_y_TD,
                                       const ExpertWeights& into, bool of_weights) {
  const torch::NoGradGuard no_grad;
  const auto token = token_A.contiguous();
  const auto plan = expert_mlp_plan(x_TD, token, weight_A, offset_E1, weights, options);
  EVOMOE_CHECK(grad_y_TD.sizes() == x_TD.sizes() && grad_y_TD.scalar_type() == x_TD.scalar_type(),
               "the gradient of the experts' output must be like their input {} {}, not {} {}",
               c10::toString(x_TD.scalar_type()), c10::str(x_TD.sizes()),
               c10::toString(grad_y_TD.scalar_type()), c10::str(grad_y_TD.sizes()));
  check_places(into, weights);
  return backward_of_plan(x_TD.contiguous(), weight_A.contiguous(), dense_experts(weights), token,
                          plan, hidden, grad_y_TD.contiguous(), into, of_weights);
}

}  // namespace evomoe
