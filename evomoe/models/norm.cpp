#include "evomoe/models/norm.h"

#include "evomoe/ops/rms_norm.h"

namespace evomoe {

NormImpl::NormImpl(int64_t dim, const NormOptions& options) : options_(options) {
  weight = register_parameter("weight", torch::ones({dim}));
  if (options.kind == NormKind::kLayerNorm) bias = register_parameter("bias", torch::zeros({dim}));
}

torch::Tensor NormImpl::forward(const torch::Tensor& x) {
  if (options_.kind == NormKind::kRmsNorm) return rms_norm(x, weight, options_.eps);
  return torch::layer_norm(x, weight.sizes(), weight, bias, options_.eps);
}

}  // namespace evomoe
