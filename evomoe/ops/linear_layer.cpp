#include "evomoe/ops/linear_layer.h"

#include "evomoe/base/error.h"
#include "evomoe/kernels/cpu/linear_bfloat16.h"

namespace evomoe {
namespace {

/// With more rows a matrix product of the widened weight is faster.
constexpr int64_t kFewRows = 16;

bool has_kernel(const torch::Tensor& x, const torch::Tensor& weight) {
  return x.is_cpu() && x.scalar_type() == torch::kFloat32 &&
         weight.scalar_type() == torch::kBFloat16 && weight.is_contiguous();
}

}  // namespace

torch::Tensor linear_layer(const torch::Tensor& x, const torch::Tensor& weight,
                           const torch::Tensor& bias) {
  const auto in = weight.size(1), out = weight.size(0);
  if (!has_kernel(x, weight) || x.size(-1) != in || x.numel() > kFewRows * in)
    return torch::linear(x, widened(weight, x), bias);
  EVOMOE_CHECK(!torch::GradMode::is_enabled() || !x.requires_grad(),
               "weights in bfloat16 are for evaluation: they have no gradient");
  auto sizes = x.sizes().vec();
  sizes.back() = out;
  auto y = torch::empty(sizes, x.options().requires_grad(false));
  const auto rows = x.contiguous();
  kernels::linear_bfloat16(rows.const_data_ptr<float>(),
                           reinterpret_cast<const uint16_t*>(weight.const_data_ptr<at::BFloat16>()),
                           bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                           y.data_ptr<float>(), rows.numel() / in, in, out);
  return y;
}

torch::Tensor widened(const torch::Tensor& weight, const torch::Tensor& x) {
  return weight.scalar_type() == torch::kBFloat16 ? weight.to(x.scalar_type()) : weight;
}

}  // namespace evomoe
