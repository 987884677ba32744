#include "evomoe/models/activation_checkpoint.h"

#include <algorithm>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using torch::autograd::variable_list;
using Forward = std::function<variable_list(const variable_list&, bool)>;

struct ForwardHolder : torch::CustomClassHolder {
  explicit ForwardHolder(Forward f) : forward(std::move(f)) {}
  Forward forward;
};

class Checkpointed : public torch::autograd::Function<Checkpointed> {
 public:
  static variable_list forward(torch::autograd::AutogradContext* context, at::TensorList list,
                               c10::intrusive_ptr<ForwardHolder> holder) {
    const variable_list inputs = list.vec();
    context->save_for_backward(inputs);
    context->saved_data["forward"] = torch::IValue::make_capsule(holder);
    const torch::NoGradGuard no_grad;
    return holder->forward(inputs, /*recomputing=*/false);
  }

  static variable_list backward(torch::autograd::AutogradContext* context,
                                variable_list gradients) {
    const auto capsule = context->saved_data["forward"].toCapsule();
    const auto& run = static_cast<ForwardHolder*>(capsule.get())->forward;
    const torch::AutoGradMode with_grad(true);
    variable_list inputs;
    for (const auto& saved : context->get_saved_variables())
      inputs.push_back(saved.detach().requires_grad_(saved.requires_grad()));
    const auto outputs = run(inputs, /*recomputing=*/true);
    variable_list reached, reached_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].requires_grad() || !gradients[i].defined()) continue;
      reached.push_back(outputs[i]);
      reached_gradients.push_back(gradients[i]);
    }
    torch::autograd::backward(reached, reached_gradients);
    variable_list of_inputs;
    for (const auto& input : inputs) of_inputs.push_back(input.grad());
    of_inputs.emplace_back();  // of the function itself
    return of_inputs;
  }
};

}  // namespace

variable_list checkpoint_activations(const variable_list& inputs, Forward forward) {
  const bool any = std::any_of(inputs.begin(), inputs.end(),
                               [](const torch::Tensor& input) { return input.requires_grad(); });
  EVOMOE_CHECK(any, "checkpoint_activations: an input must require grad");
  return Checkpointed::apply(at::TensorList(inputs),
                             c10::make_intrusive<ForwardHolder>(std::move(forward)));
}

}  // namespace evomoe
