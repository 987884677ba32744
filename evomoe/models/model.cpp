#include "evomoe/models/model.h"

#include "evomoe/ops/linear_cross_entropy.h"
#include "evomoe/ops/linear_layer.h"

namespace evomoe {

TokenLoss Model::token_loss(const torch::Tensor& x_ND, const torch::Tensor& target_N,
                            const TokenLossOptions& options) {
  const auto found =
      linear_cross_entropy(output_features(x_ND), widened(output_weight(), x_ND), target_N,
                           {.ignore_index = options.ignore_index,
                            .bias_V = output_bias(),
                            .label_smoothing = options.label_smoothing,
                            .count_correct = options.count_correct});
  return {found.loss, found.nll, found.correct};
}

torch::Tensor Model::log_probability(const torch::Tensor& x_ND) {
  const auto logit_NV = linear_layer(output_features(x_ND), output_weight(), output_bias());
  return torch::log_softmax(logit_NV, -1, torch::kFloat32);
}

torch::Tensor Model::log_probability_of(const torch::Tensor& x_ND, const torch::Tensor& target_N) {
  const torch::NoGradGuard no_grad;
  return linear_log_probability(output_features(x_ND), widened(output_weight(), x_ND), target_N,
                                output_bias());
}

}  // namespace evomoe
