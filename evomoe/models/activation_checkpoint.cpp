#include "evomoe/models/activation_checkpoint.h"

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using torch::autograd::variable_list;
using Forward = std::function<variable_list(const torch::Tensor&, bool)>;

struct ForwardHolder : torch::CustomClassHolder {
  explicit ForwardHolder(Forward f) : forward(std::move(f)) {}
  Forward forward;
};

class Checkpointed : public torch::autograd::Function<Checkpointed> {
 public:
  static variable_list forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               c10::intrusive_ptr<ForwardHolder> holder) {
    context->save_for_backward({x});
    context->saved_data["forward"] = torch::IValue::make_capsule(holder);
    const torch::NoGradGuard no_grad;
    return holder->forward(x, /*recomputing=*/false);
  }

  static variable_list backward(torch::autograd::AutogradContext* context,
                                variable_list gradients) {
    const auto capsule = context->saved_data["forward"].toCapsule();
    const auto& run = static_cast<ForwardHolder*>(capsule.get())->forward;
    const torch::AutoGradMode with_grad(true);
    const auto x = context->get_saved_variables()[0].detach().requires_grad_(true);
    const auto outputs = run(x, /*recomputing=*/true);
    variable_list reached, reached_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].requires_grad() || !gradients[i].defined()) continue;
      reached.push_back(outputs[i]);
      reached_gradients.push_back(gradients[i]);
    }
    torch::autograd::backward(reached, reached_gradients);
    return {x.grad(), torch::Tensor()};
  }
};

}  // namespace

variable_list checkpoint_activations(const torch::Tensor& x, Forward forward) {
  EVOMOE_CHECK(x.requires_grad(), "checkpoint_activations: the input must require grad");
  return Checkpointed::apply(x, c10::make_intrusive<ForwardHolder>(std::move(forward)));
}

}  // namespace evomoe
