#include "evomoe/ops/expert_mlp_of_plan.h"

#include "evomoe/kernels/cpu/expert_mlp.h"
#include "evomoe/kernels/cpu/matmul.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/cuda_kernels.h"
#include "evomoe/ops/expert_mlp_cuda.h"
#include "evomoe/ops/philox_dropout.h"

namespace evomoe {
namespace {

using torch::Tensor;

/// Dropout of rows of one expert. An expert's columns follow those of the one before it, so that a
/// token has other numbers at each expert.
void drop_rows(Tensor rows, const ExpertMlpPlan& plan, int64_t expert, double probability,
               const NoiseKey& key, const Tensor& token_A) {
  const auto token_N = (plan.noise_token_A.defined() ? plan.noise_token_A : token_A)
                           .slice(0, plan.begin(expert), plan.end(expert));
  const auto blocks = (rows.size(1) + 3) / 4;
  philox_dropout_rows_(rows, token_N, (plan.first_expert + expert) * blocks, probability, key);
}

/// The weights of expert e.
ExpertWeights of_expert(const ExpertWeights& weights, int64_t e) {
  return of_each_weight(weights, [e](const Tensor& all) { return all[e]; });
}

/// x w^T + b of one expert; the bias may be undefined.
Tensor affine(const Tensor& x_NC, const Tensor& w, const Tensor& b) {
  return b.defined() ? torch::addmm(b, x_NC, w.t()) : torch::mm(x_NC, w.t());
}

/// The forward pass in plain tensor operations. What is defined of `hidden` is filled, and so is
/// `act_sum_EH`, zeros, unless it is null.
void plain_forward(const Tensor& x_TD, const Tensor& weight_A, const ExpertWeights& weights,
                   const Tensor& token_A, const ExpertMlpPlan& plan, const ExpertMlpHidden& hidden,
                   const Tensor* act_sum_EH, Tensor& y_TD) {
  y_TD.zero_();
  for (int64_t e = 0; e < plan.num_experts(); ++e) {
    const auto begin = plan.begin(e), end = plan.end(e);
    if (begin == end) continue;
    const auto expert = of_expert(weights, e);
    const auto token_N = token_A.slice(0, begin, end);
    const auto x_ND = x_TD.index_select(0, token_N);
    const auto pre_NH = affine(x_ND, expert.w1_EHD, expert.b1_EH);
    if (hidden.pre_AH.defined()) hidden.pre_AH.slice(0, begin, end).copy_(pre_NH);
    auto act_NH = activate(pre_NH, plan.activation);
    if (expert.w3_EHD.defined()) {
      const auto factor_NH = affine(x_ND, expert.w3_EHD, {});
      if (hidden.factor_AH.defined()) hidden.factor_AH.slice(0, begin, end).copy_(factor_NH);
      act_NH.mul_(factor_NH);
    }
    if (act_sum_EH != nullptr) (*act_sum_EH)[e].copy_(act_NH.sum(0));
    drop_rows(act_NH, plan, e, plan.activation_dropout, plan.activation_key, token_A);
    auto out_ND = affine(act_NH, expert.w2_EDH, expert.b2_ED);
    drop_rows(out_ND, plan, e, plan.dropout, plan.output_key, token_A);
    y_TD.index_add_(0, token_N, out_ND.mul_(weight_A.slice(0, begin, end).unsqueeze(1)));
  }
}

/// The backward pass in plain tensor operations.
void plain_backward(const Tensor& x_TD, const Tensor& weight_A, const ExpertWeights& weights,
                    const Tensor& token_A, const ExpertMlpPlan& plan, const ExpertMlpHidden& hidden,
                    const Tensor& grad_y_TD, ExpertMlpGradients& grad) {
  grad.x_TD.zero_();
  for (int64_t e = 0; e < plan.num_experts(); ++e) {
    const auto begin = plan.begin(e), end = plan.end(e);
    auto grad_of = of_expert(grad.weights, e);
    if (begin == end) {
      // Zeros, not nothing: the reference's optimiser moves an idle expert all the same.
      for_each_weight(
          [](const Tensor& gradient) {
            if (gradient.defined()) gradient.zero_();
          },
          grad_of);
      continue;
    }
    const auto expert = of_expert(weights, e);
    const bool gated = expert.w3_EHD.defined();
    const auto token_N = token_A.slice(0, begin, end);
    const auto weight_N1 = weight_A.slice(0, begin, end).unsqueeze(1);
    const auto x_ND = x_TD.index_select(0, token_N);
    const auto pre_NH = hidden.pre_AH.defined() ? hidden.pre_AH.slice(0, begin, end)
                                                : affine(x_ND, expert.w1_EHD, expert.b1_EH);
    auto act_NH = activate(pre_NH, plan.activation);
    Tensor factor_NH, activated_NH;
    if (gated) {
      factor_NH = hidden.factor_AH.defined() ? hidden.factor_AH.slice(0, begin, end)
                                             : affine(x_ND, expert.w3_EHD, {});
      activated_NH = act_NH;
      act_NH = activated_NH * factor_NH;
    }
    drop_rows(act_NH, plan, e, plan.activation_dropout, plan.activation_key, token_A);
    auto grad_out_ND = grad_y_TD.index_select(0, token_N);
    drop_rows(grad_out_ND, plan, e, plan.dropout, plan.output_key, token_A);
    auto grad_act_NH = torch::mm(grad_out_ND, expert.w2_EDH);

    // The combine weight's gradient <grad_y, act w2^T + b2> as <grad_y w2, act> + <grad_y, b2>.
    auto grad_weight_N = (grad_act_NH * act_NH).sum(1);
    if (expert.b2_ED.defined())
      grad_weight_N = grad_weight_N + torch::mv(grad_out_ND, expert.b2_ED);
    grad.weight_A.slice(0, begin, end).copy_(grad_weight_N);
    const auto weighted_out_ND = grad_out_ND * weight_N1;
    if (grad_of.w2_EDH.defined()) torch::mm_out(grad_of.w2_EDH, weighted_out_ND.t(), act_NH);
    if (grad_of.b2_ED.defined()) torch::sum_out(grad_of.b2_ED, weighted_out_ND, /*dim=*/0);
    drop_rows(grad_act_NH, plan, e, plan.activation_dropout, plan.activation_key, token_A);
    Tensor grad_factor_NH;
    if (gated) {
      grad_factor_NH = grad_act_NH * activated_NH * weight_N1;
      grad_act_NH = grad_act_NH * factor_NH;
    }
    const auto grad_NH = activate_backward(grad_act_NH, pre_NH, plan.activation) * weight_N1;
    if (grad_of.w1_EHD.defined()) torch::mm_out(grad_of.w1_EHD, grad_NH.t(), x_ND);
    if (grad_of.b1_EH.defined()) torch::sum_out(grad_of.b1_EH, grad_NH, /*dim=*/0);
    auto grad_x_ND = torch::mm(grad_NH, expert.w1_EHD);
    if (gated) {
      if (grad_of.w3_EHD.defined()) torch::mm_out(grad_of.w3_EHD, grad_factor_NH.t(), x_ND);
      grad_x_ND.addmm_(grad_factor_NH, expert.w3_EHD);
    }
    grad.x_TD.index_add_(0, token_N, grad_x_ND);
  }
}

bool has_fused_kernels(const Tensor& x) {
  return x.is_cpu() && x.scalar_type() == torch::kFloat32 && kernels::has_matmul();
}

/// The steps between experts, of the kernels' views.
ExpertWeightsOf<int64_t> steps(const ExpertWeights& weights) {
  return of_each_weight(weights, [](const Tensor& tensor) { return tensor.stride(0); });
}

/// The kernels' view of the same.
kernels::ExpertMlp kernel_view(const Tensor& x_TD, const Tensor& weight_A,
                               const ExpertWeights& weights, const Tensor& token_A,
                               const ExpertMlpPlan& plan) {
  const auto data = [](const Tensor& tensor) { return tensor.const_data_ptr<float>(); };
  return {.tokens = x_TD.size(0),
          .experts = plan.num_experts(),
          .model_dim = x_TD.size(1),
          .hidden_dim = weights.w1_EHD.size(1),
          .token = token_A.const_data_ptr<int64_t>(),
          .offset = plan.offset_E1.data(),
          .x = data(x_TD),
          .weight = data(weight_A),
          .of_experts = of_each_weight(weights, data),
          .step = steps(weights),
          .activation = plan.activation,
          .activation_dropout = plan.activation_dropout,
          .dropout = plan.dropout,
          .activation_key = plan.activation_key,
          .output_key = plan.output_key,
          .noise_token =
              plan.noise_token_A.defined() ? plan.noise_token_A.const_data_ptr<int64_t>() : nullptr,
          .first_expert = plan.first_expert};
}

kernels::ExpertHidden kernel_view(const ExpertMlpHidden& hidden) {
  // What is kept is only read in the backward pass.
  const auto data = [](const Tensor& tensor) {
    return tensor.defined() ? const_cast<float*>(tensor.const_data_ptr<float>()) : nullptr;
  };
  return {.pre = data(hidden.pre_AH), .factor = data(hidden.factor_AH)};
}

/// The view of the kernels for CUDA devices.
[[maybe_unused]] CudaExperts cuda_view(const Tensor& x_TD, const Tensor& weight_A,
                                       const ExpertWeights& weights, const Tensor& token_A,
                                       const ExpertMlpPlan& plan) {
  CudaExperts view{.x_TD = x_TD,
                   .weight_A = weight_A,
                   .token_A = token_A,
                   .weights = weights,
                   .offset_E1 = plan.offset_E1,
                   .activation = plan.activation,
                   .activation_dropout = plan.activation_dropout,
                   .dropout = plan.dropout,
                   .activation_key = plan.activation_key,
                   .output_key = plan.output_key};
  // One expert's products are the library's business as they are.
  if constexpr (kHasCudaKernels) {
    view.grouped = plan.num_experts() > 1 && can_group_products(x_TD, weights.w1_EHD);
  }
  return view;
}

}  // namespace

bool has_dense_experts(const Tensor& all) {
  return all.size(0) > 0 && all[0].is_contiguous() && all.stride(0) >= all[0].numel();
}

ExpertWeights dense_experts(const ExpertWeights& weights) {
  return of_each_weight(weights, [](const Tensor& all) {
    return all.is_cpu() && has_dense_experts(all) ? all : all.contiguous();
  });
}

ExpertMlpOutput forward_of_plan(const Tensor& x_TD, const Tensor& weight_A,
                                const ExpertWeights& weights, const Tensor& token_A,
                                const ExpertMlpPlan& plan, bool keep_hidden,
                                const Tensor* act_sum_EH) {
  if constexpr (kHasCudaKernels) {
    // They make no sums.
    if (cuda_kernels_take(x_TD) && act_sum_EH == nullptr)
      return cuda_experts_forward(cuda_view(x_TD, weight_A, weights, token_A, plan), keep_hidden);
  }
  ExpertMlpOutput output{torch::empty_like(x_TD), {}};
  const auto rows = [&] {
    return torch::empty({token_A.size(0), weights.w1_EHD.size(1)}, x_TD.options());
  };
  if (keep_hidden) output.hidden.pre_AH = rows();
  if (keep_hidden && weights.w3_EHD.defined()) output.hidden.factor_AH = rows();
  if (has_fused_kernels(x_TD)) {
    kernels::expert_mlp_forward(kernel_view(x_TD, weight_A, weights, token_A, plan),
                                kernel_view(output.hidden), output.y_TD.data_ptr<float>(),
                                act_sum_EH != nullptr ? act_sum_EH->data_ptr<float>() : nullptr);
  } else {
    plain_forward(x_TD, weight_A, weights, token_A, plan, output.hidden, act_sum_EH, output.y_TD);
  }
  return output;
}

ExpertMlpGradients backward_of_plan(const Tensor& x_TD, const Tensor& weight_A,
                                    const ExpertWeights& weights, const Tensor& token_A,
                                    const ExpertMlpPlan& plan, const ExpertMlpHidden& hidden,
                                    const Tensor& grad_y_TD, const ExpertWeights& into,
                                    bool of_weights) {
  if constexpr (kHasCudaKernels) {
    if (cuda_kernels_take(x_TD)) {
      return cuda_experts_backward(cuda_view(x_TD, weight_A, weights, token_A, plan), hidden,
                                   grad_y_TD, into, of_weights);
    }
  }
  const auto like = [](const Tensor& tensor) {
    return torch::empty(tensor.sizes(), tensor.options());
  };
  ExpertMlpGradients grad{like(x_TD), like(weight_A), {}};
  for_each_weight(
      [&](Tensor& gradient, const Tensor& weight, const Tensor& place) {
        if (weight.defined() && of_weights) gradient = place.defined() ? place : like(weight);
      },
      grad.weights, weights, into);
  if (has_fused_kernels(x_TD)) {
    const auto data = [](const Tensor& tensor) { return tensor.data_ptr<float>(); };
    kernels::expert_mlp_backward(kernel_view(x_TD, weight_A, weights, token_A, plan),
                                 grad_y_TD.const_data_ptr<float>(), kernel_view(hidden),
                                 {data(grad.x_TD), data(grad.weight_A),
                                  of_each_weight(grad.weights, data), steps(grad.weights)});
  } else {
    plain_backward(x_TD, weight_A, weights, token_A, plan, hidden, grad_y_TD, grad);
  }
  return grad;
}

}  // namespace evomoe
