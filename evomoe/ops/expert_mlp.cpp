#include "evomoe/ops/expert_mlp.h"

#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/ops/expert_mlp_of_plan.h"
#include "evomoe/ops/expert_mlp_plan.h"
#include "evomoe/ops/linear_layer.h"
#include "evomoe/ops/saved_value.h"

namespace evomoe {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Tensors as autograd takes them: x_TD, weight_A and each weight that the experts have.
variable_list as_list(const Tensor& x_TD, const Tensor& weight_A, const ExpertWeights& weights) {
  variable_list list = {x_TD, weight_A};
  for_each_weight(
      [&](const Tensor& tensor) {
        if (tensor.defined()) list.push_back(tensor);
      },
      weights);
  return list;
}

/// The weights of such a list, or of one that begins with it.
ExpertWeights weights_of(torch::TensorList list, const ExpertMlpPlan& plan) {
  ExpertWeights weights;
  size_t i = 2;
  for_each_weight(
      [&](Tensor& tensor, bool there) {
        if (there) tensor = list[i++];
      },
      weights, plan.has);
  return weights;
}

class ExpertMlp : public torch::autograd::Function<ExpertMlp> {
 public:
  /// `inputs`: as_list().
  static Tensor forward(AutogradContext* context, const torch::TensorList& inputs,
                        const Tensor& token_A, const ExpertMlpPlan& plan, bool need_backward,
                        const Tensor* act_sum_EH) {
    auto output = forward_of_plan(inputs[0], inputs[1], weights_of(inputs, plan), token_A, plan,
                                  need_backward && !plan.recompute, act_sum_EH);
    if (need_backward) {
      save_value(context, "plan", plan);
      auto saved = inputs.vec();
      saved.insert(saved.end(), {token_A, output.hidden.pre_AH, output.hidden.factor_AH});
      context->save_for_backward(std::move(saved));
    }
    return output.y_TD;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    EVOMOE_CHECK(!torch::GradMode::is_enabled(),
                 "expert_mlp cannot be differentiated twice; call backward without create_graph");
    const auto plan = saved_value<ExpertMlpPlan>(context, "plan");
    const auto saved = context->get_saved_variables();
    const ExpertMlpHidden hidden{saved[saved.size() - 2], saved[saved.size() - 1]};
    const size_t inputs = saved.size() - 3;
    bool of_weights = false;  // not for frozen experts
    for (size_t i = 2; i < inputs; ++i) of_weights |= context->needs_input_grad(i);
    const auto grad = backward_of_plan(saved[0], saved[1], weights_of(saved, plan), saved[inputs],
                                       plan, hidden, gradients[0].contiguous(), {}, of_weights);
    auto list = as_list(grad.x_TD, grad.weight_A, grad.weights);
    list.resize(inputs + 4);  // tokens, plan, need_backward, sums
    return list;
  }
};

Tensor apply_experts(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                     const ExpertWeights& weights, const ExpertMlpPlan& plan,
                     const Tensor* act_sum_EH = nullptr) {
  const auto inputs = as_list(x_TD.contiguous(), weight_A.contiguous(), dense_experts(weights));
  bool need_backward = false;
  for (const auto& tensor : inputs)
    need_backward |= torch::GradMode::is_enabled() && tensor.requires_grad();
  return ExpertMlp::apply(torch::TensorList(inputs), token_A, plan, need_backward, act_sum_EH);
}

/// The sum of each expert's outputs, of that of its activations: w2 is linear.
Tensor output_sums(const Tensor& act_sum_EH, const ExpertWeights& weights,
                   const Tensor& offset_E1) {
  const torch::NoGradGuard no_grad;
  const auto sum_ED = torch::bmm(weights.w2_EDH, act_sum_EH.unsqueeze(2)).squeeze(2);
  if (!weights.b2_ED.defined()) return sum_ED;
  return sum_ED + offset_E1.diff().to(sum_ED.options()).unsqueeze(1) * weights.b2_ED;
}

/// Weights in bfloat16 beside a float32 x.
bool are_narrower(const ExpertWeights& weights, const Tensor& x_TD) {
  return weights.w1_EHD.scalar_type() == torch::kBFloat16 && x_TD.scalar_type() != torch::kBFloat16;
}

/// One expert of such weights on its rows.
Tensor narrow_expert(const Tensor& x_ND, const ExpertWeights& weights, int64_t expert,
                     const ExpertMlpOptions& options) {
  EVOMOE_CHECK(options.activation_dropout == 0 && options.dropout == 0 &&
                   !(torch::GradMode::is_enabled() && x_ND.requires_grad()),
               "experts in bfloat16 are for evaluation: they have no dropout and no gradient");
  const auto of = of_each_weight(weights, [&](const Tensor& all) { return all.select(0, expert); });
  auto hidden_NH =
      activate(linear_layer(x_ND, of.w1_EHD, of.b1_EH), parse_activation(options.activation));
  if (of.w3_EHD.defined()) hidden_NH = hidden_NH * linear_layer(x_ND, of.w3_EHD);
  return linear_layer(hidden_NH, of.w2_EDH, of.b2_ED);
}

/// expert_mlp() of such weights. The plan has checked what goes where.
Tensor narrow_experts(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                      const ExpertWeights& weights, const ExpertMlpPlan& plan,
                      const ExpertMlpOptions& options, Tensor* output_sum_ED) {
  auto y_TD = torch::zeros_like(x_TD);
  if (output_sum_ED != nullptr)
    *output_sum_ED = torch::zeros({plan.num_experts(), x_TD.size(1)}, x_TD.options());
  for (int64_t e = 0; e < plan.num_experts(); ++e) {
    if (plan.begin(e) == plan.end(e)) continue;
    const auto token_N = token_A.slice(0, plan.begin(e), plan.end(e));
    const auto out_ND = narrow_expert(x_TD.index_select(0, token_N), weights, e, options);
    if (output_sum_ED != nullptr) output_sum_ED->select(0, e).copy_(out_ND.sum(0));
    y_TD.index_add_(0, token_N,
                    out_ND * weight_A.slice(0, plan.begin(e), plan.end(e)).unsqueeze(1));
  }
  return y_TD;
}

}  // namespace

Tensor expert_mlp(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                  const Tensor& offset_E1, const ExpertWeights& weights,
                  const ExpertMlpOptions& options, Tensor* output_sum_ED) {
  const auto token = token_A.contiguous();
  const auto plan = expert_mlp_plan(x_TD, token, weight_A, offset_E1, weights, options);
  if (are_narrower(weights, x_TD))
    return narrow_experts(x_TD, token, weight_A, weights, plan, options, output_sum_ED);
  if (output_sum_ED == nullptr) return apply_experts(x_TD, token, weight_A, weights, plan);
  const auto act_sum_EH = torch::zeros({weights.w1_EHD.size(0), weights.w1_EHD.size(1)},
                                       x_TD.options().requires_grad(false));
  auto y_TD = apply_experts(x_TD, token, weight_A, weights, plan, &act_sum_EH);
  *output_sum_ED = output_sums(act_sum_EH, weights, offset_E1);
  return y_TD;
}

Tensor feed_forward(const Tensor& x, const ExpertWeights& weights,
                    const ExpertMlpOptions& options) {
  EVOMOE_CHECK(x.dim() > 0, "a feed-forward block needs a tensor [..., D], not a number");
  const auto x_TD = x.reshape({-1, x.size(-1)});
  if (are_narrower(weights, x_TD)) return narrow_expert(x_TD, weights, 0, options).view(x.sizes());
  const auto T = x_TD.size(0);
  const auto token_A = torch::arange(T, x.options().dtype(torch::kInt64).requires_grad(false));
  const auto weight_A = torch::ones({T}, x.options().requires_grad(false));
  const auto plan = feed_forward_plan(x_TD, token_A, weight_A, weights, options);
  return apply_experts(x_TD, token_A, weight_A, weights, plan).view(x.sizes());
}

}  // namespace evomoe
