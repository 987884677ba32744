#pragma once

#include <torch/torch.h>

namespace evomoe {

enum class NormKind {
  kLayerNorm,  ///< (x - mean) / sqrt(variance + eps) * weight + bias (arXiv 1607.06450)
  kRmsNorm,    ///< x / sqrt(mean of x^2 + eps) * weight (arXiv 1910.07467)
};

/// The reference has layer norms with eps 1e-5 (docs/reference.md section 7.5).
struct NormOptions {
  NormKind kind = NormKind::kLayerNorm;
  double eps = 1e-5;
};

/// The norm of every model here, over the last axis: x [..., dim] -> [..., dim]. Parameters:
/// `weight` [dim], ones at first, and of a layer norm `bias` [dim], zeros at first.
class NormImpl : public torch::nn::Module {
 public:
  explicit NormImpl(int64_t dim, const NormOptions& options = {});
  torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight, bias;

 private:
  NormOptions options_;
};
TORCH_MODULE(Norm);

}  // namespace evomoe
