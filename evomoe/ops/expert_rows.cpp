#include "evomoe/ops/expert_rows.h"

#include "evomoe/base/error.h"
#include "evomoe/kernels/cpu/rows.h"

namespace evomoe {
namespace {

bool fused(const torch::Tensor& x) { return x.is_cpu() && x.scalar_type() == torch::kFloat32; }

const float* pointer_or_null(const torch::Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

torch::Tensor activate_backward(const torch::Tensor& grad, const torch::Tensor& pre,
                                Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return at::gelu_backward(grad, pre);
    case Activation::kGeluTanh:
      return at::gelu_backward(grad, pre, "tanh");
    case Activation::kRelu:
      return at::threshold_backward(grad, pre, /*threshold=*/0);
  }
  fail("activation number {} has no implementation", static_cast<int>(activation));
}

}  // namespace

Activation parse_activation(const std::string& name) {
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_tanh") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  fail("--activation-fn '{}' is not known; it may be relu, gelu or gelu_tanh", name);
}

torch::Tensor activate(const torch::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return torch::gelu(x);
    case Activation::kGeluTanh:
      return torch::gelu(x, "tanh");
    case Activation::kRelu:
      return torch::relu(x);
  }
  fail("activation number {} has no implementation", static_cast<int>(activation));
}

void gather_rows(const torch::Tensor& x_TD, const torch::Tensor& token_N, torch::Tensor out_ND) {
  if (fused(x_TD)) {
    kernels::gather_rows(x_TD.const_data_ptr<float>(), token_N.const_data_ptr<int64_t>(),
                         out_ND.data_ptr<float>(), out_ND.size(0), out_ND.size(1));
  } else {
    torch::index_select_out(out_ND, x_TD, 0, token_N);
  }
}

void scatter_add_rows(const torch::Tensor& x_ND, const torch::Tensor& token_N,
                      const torch::Tensor& scale_N, const torch::Tensor& bias_D,
                      torch::Tensor& y_TD) {
  if (fused(x_ND)) {
    kernels::scatter_add_rows(x_ND.const_data_ptr<float>(), token_N.const_data_ptr<int64_t>(),
                              pointer_or_null(scale_N), pointer_or_null(bias_D),
                              y_TD.data_ptr<float>(), x_ND.size(0), x_ND.size(1));
    return;
  }
  auto rows = bias_D.defined() ? x_ND + bias_D : x_ND;
  if (scale_N.defined()) rows = rows * scale_N.unsqueeze(1);
  y_TD.index_add_(0, token_N, rows);
}

void bias_activation(torch::Tensor pre_NH, const torch::Tensor& bias_H, torch::Tensor act_NH,
                     Activation activation) {
  if (fused(pre_NH)) {
    kernels::bias_activation(pre_NH.data_ptr<float>(), pointer_or_null(bias_H),
                             act_NH.data_ptr<float>(), pre_NH.size(0), pre_NH.size(1), activation);
    return;
  }
  if (bias_H.defined()) pre_NH.add_(bias_H);
  act_NH.copy_(activate(pre_NH, activation));
}

void activation_backward(torch::Tensor grad_NH, const torch::Tensor& pre_NH, torch::Tensor act_NH,
                         const torch::Tensor& weight_N, torch::Tensor grad_weight_N,
                         Activation activation) {
  if (fused(grad_NH)) {
    kernels::activation_backward(grad_NH.data_ptr<float>(), pre_NH.const_data_ptr<float>(),
                                 act_NH.data_ptr<float>(), weight_N.const_data_ptr<float>(),
                                 grad_weight_N.data_ptr<float>(), grad_NH.size(0), grad_NH.size(1),
                                 activation);
    return;
  }
  const auto weight_N1 = weight_N.unsqueeze(1);
  grad_weight_N.copy_((grad_NH * act_NH).sum(1));
  grad_NH.copy_(activate_backward(grad_NH, pre_NH, activation) * weight_N1);
  act_NH.mul_(weight_N1);
}

}  // namespace evomoe
