#include "evomoe/ops/rms_norm.h"

#include "evomoe/base/error.h"
#include "evomoe/kernels/cpu/rms_norm.h"

namespace evomoe {
namespace {

class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight_D, double eps) {
    const auto columns = x.size(-1), rows = x.numel() / columns;
    auto y = torch::empty_like(x);
    auto inverse_N = torch::empty({rows}, x.options());
    kernels::rms_norm(x.const_data_ptr<float>(), weight_D.const_data_ptr<float>(),
                      y.data_ptr<float>(), inverse_N.data_ptr<float>(), rows, columns, eps);
    context->save_for_backward({x, weight_D, inverse_N});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    EVOMOE_CHECK(!torch::GradMode::is_enabled(),
                 "rms_norm cannot be differentiated twice; call backward without create_graph");
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight_D = saved[1], &inverse_N = saved[2];
    const auto gradient = gradients[0].contiguous();
    const auto columns = x.size(-1);
    torch::Tensor grad_x, grad_weight_D;
    if (context->needs_input_grad(0)) grad_x = torch::empty_like(x);
    if (context->needs_input_grad(1)) grad_weight_D = torch::empty_like(weight_D);
    const auto place = [](const torch::Tensor& tensor) {
      return tensor.defined() ? tensor.data_ptr<float>() : nullptr;
    };
    kernels::rms_norm_backward(gradient.const_data_ptr<float>(), x.const_data_ptr<float>(),
                               weight_D.const_data_ptr<float>(), inverse_N.const_data_ptr<float>(),
                               place(grad_x), place(grad_weight_D), x.numel() / columns, columns);
    return {grad_x, grad_weight_D, torch::Tensor()};
  }
};

}  // namespace

torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight_D, double eps) {
  const bool fused = x.is_cpu() && x.scalar_type() == torch::kFloat32 &&
                     weight_D.scalar_type() == torch::kFloat32 && weight_D.is_contiguous() &&
                     x.numel() > 0 && x.size(-1) == weight_D.numel();
  if (!fused) return torch::rms_norm(x, weight_D.sizes(), weight_D, eps);
  return RmsNorm::apply(x.contiguous(), weight_D, eps);
}

}  // namespace evomoe
