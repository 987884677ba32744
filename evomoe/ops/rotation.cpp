#include "evomoe/ops/rotation.h"

#include "evomoe/kernels/cpu/rotation.h"

namespace evomoe {
namespace {

class RotateHeads : public torch::autograd::Function<RotateHeads> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& x_BSHD, const torch::Tensor& cosine_BS1C,
                               const torch::Tensor& sine_BS1C) {
    context->save_for_backward({cosine_BS1C, sine_BS1C});
    auto y = torch::empty_like(x_BSHD);
    kernels::rotate_heads(x_BSHD.const_data_ptr<float>(), cosine_BS1C.const_data_ptr<float>(),
                          sine_BS1C.const_data_ptr<float>(), y.data_ptr<float>(),
                          x_BSHD.size(0) * x_BSHD.size(1), x_BSHD.size(2), x_BSHD.size(3) / 2,
                          cosine_BS1C.size(0) * cosine_BS1C.size(1));
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto angles = context->get_saved_variables();
    return {apply(gradients[0].contiguous(), angles[0], -angles[1]), torch::Tensor(),
            torch::Tensor()};
  }
};

}  // namespace

torch::Tensor rotate_heads(const torch::Tensor& x_BSHD, const torch::Tensor& cosine_BS1C,
                           const torch::Tensor& sine_BS1C) {
  const auto is_plain = [](const torch::Tensor& tensor) {
    return tensor.is_cpu() && tensor.scalar_type() == torch::kFloat32;
  };
  if (is_plain(x_BSHD) && is_plain(cosine_BS1C) && x_BSHD.numel() > 0)
    return RotateHeads::apply(x_BSHD.contiguous(), cosine_BS1C.contiguous(),
                              sine_BS1C.contiguous());
  const auto half = x_BSHD.size(3) / 2;
  const auto first = x_BSHD.slice(3, 0, half), second = x_BSHD.slice(3, half);
  return torch::cat(
      {first * cosine_BS1C - second * sine_BS1C, second * cosine_BS1C + first * sine_BS1C}, 3);
}

}  // namespace evomoe
