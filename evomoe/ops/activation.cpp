#include "evomoe/ops/activation.h"

#include "evomoe/base/error.h"

namespace evomoe {

Activation parse_activation(const std::string& name) {
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_tanh") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  fail("--activation-fn '{}' is not known; it may be relu, gelu, gelu_tanh or silu", name);
}

torch::Tensor activate(const torch::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return torch::gelu(x);
    case Activation::kGeluTanh:
      return torch::gelu(x, "tanh");
    case Activation::kRelu:
      return torch::relu(x);
    case Activation::kSilu:
      return torch::silu(x);
  }
  fail("activation number {} has no implementation", static_cast<int>(activation));
}

torch::Tensor activate_backward(const torch::Tensor& grad, const torch::Tensor& x,
                                Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return at::gelu_backward(grad, x);
    case Activation::kGeluTanh:
      return at::gelu_backward(grad, x, "tanh");
    case Activation::kRelu:
      return at::threshold_backward(grad, x, /*threshold=*/0);
    case Activation::kSilu:
      return at::silu_backward(grad, x);
  }
  fail("activation number {} has no implementation", static_cast<int>(activation));
}

}  // namespace evomoe
