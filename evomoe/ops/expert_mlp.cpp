#include "evomoe/ops/expert_mlp.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/kernels/cpu/expert_mlp.h"
#include "evomoe/kernels/cpu/matmul.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/cuda_kernels.h"
#include "evomoe/ops/expert_mlp_cuda.h"
#include "evomoe/ops/expert_mlp_passes.h"
#include "evomoe/ops/philox_dropout.h"
#include "evomoe/ops/saved_value.h"

namespace evomoe {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What forward and backward pass share: who goes where, and how dropout is keyed.
struct Plan {
  std::vector<int64_t> offset_E1;
  ExpertWeightsOf<bool> has;  ///< the weights that the experts have
  Activation activation = Activation::kGelu;
  double activation_dropout = 0, dropout = 0;
  bool recompute = false;
  NoiseKey activation_key, output_key;
  Tensor noise_token_A;  ///< undefined: the token
  int64_t first_expert = 0;

  int64_t num_experts() const { return static_cast<int64_t>(offset_E1.size()) - 1; }
  int64_t begin(int64_t expert) const { return offset_E1[static_cast<size_t>(expert)]; }
  int64_t end(int64_t expert) const { return offset_E1[static_cast<size_t>(expert) + 1]; }
};

/// Dropout of rows of one expert. An expert's columns follow those of the one before it, so that a
/// token has other numbers at each expert.
void drop_rows(Tensor rows, const Plan& plan, int64_t expert, double probability,
               const NoiseKey& key, const Tensor& token_A) {
  const auto token_N = (plan.noise_token_A.defined() ? plan.noise_token_A : token_A)
                           .slice(0, plan.begin(expert), plan.end(expert));
  const auto blocks = (rows.size(1) + 3) / 4;
  philox_dropout_rows_(rows, token_N, (plan.first_expert + expert) * blocks, probability, key);
}

/// What the backward pass reads of the forward pass, on any device.
using Hidden = CudaExpertHidden;

/// What the backward pass makes, on any device.
using Gradients = ExpertMlpGradients;

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
                   const Tensor& token_A, const Plan& plan, const Hidden& hidden,
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
                    const Tensor& token_A, const Plan& plan, const Hidden& hidden,
                    const Tensor& grad_y_TD, Gradients& grad) {
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

bool fused(const Tensor& x) {
  return x.is_cpu() && x.scalar_type() == torch::kFloat32 && kernels::has_matmul();
}

/// The steps between experts, of the kernels' views.
ExpertWeightsOf<int64_t> steps(const ExpertWeights& weights) {
  return of_each_weight(weights, [](const Tensor& tensor) { return tensor.stride(0); });
}

/// The kernels' view of the same.
kernels::ExpertMlp kernel_view(const Tensor& x_TD, const Tensor& weight_A,
                               const ExpertWeights& weights, const Tensor& token_A,
                               const Plan& plan) {
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

kernels::ExpertHidden kernel_view(const Hidden& hidden) {
  // What is kept is only read in the backward pass.
  const auto data = [](const Tensor& tensor) {
    return tensor.defined() ? const_cast<float*>(tensor.const_data_ptr<float>()) : nullptr;
  };
  return {.pre = data(hidden.pre_AH), .factor = data(hidden.factor_AH)};
}

/// The view of the kernels for CUDA devices.
[[maybe_unused]] CudaExperts cuda_view(const Tensor& x_TD, const Tensor& weight_A,
                                       const ExpertWeights& weights, const Tensor& token_A,
                                       const Plan& plan) {
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
ExpertWeights weights_of(torch::TensorList list, const Plan& plan) {
  ExpertWeights weights;
  size_t i = 2;
  for_each_weight(
      [&](Tensor& tensor, bool there) {
        if (there) tensor = list[i++];
      },
      weights, plan.has);
  return weights;
}

/// The forward pass. `act_sum_EH`: null, or zeros that receive the sums of activations.
CudaExpertOutput run_forward(const Tensor& x_TD, const Tensor& weight_A,
                             const ExpertWeights& weights, const Tensor& token_A, const Plan& plan,
                             bool keep, const Tensor* act_sum_EH) {
  if constexpr (kHasCudaKernels) {
    // They make no sums.
    if (cuda_kernels_take(x_TD) && act_sum_EH == nullptr)
      return cuda_experts_forward(cuda_view(x_TD, weight_A, weights, token_A, plan), keep);
  }
  CudaExpertOutput output{torch::empty_like(x_TD), {}};
  const auto rows = [&] {
    return torch::empty({token_A.size(0), weights.w1_EHD.size(1)}, x_TD.options());
  };
  if (keep) output.hidden.pre_AH = rows();
  if (keep && weights.w3_EHD.defined()) output.hidden.factor_AH = rows();
  if (fused(x_TD)) {
    kernels::expert_mlp_forward(kernel_view(x_TD, weight_A, weights, token_A, plan),
                                kernel_view(output.hidden), output.y_TD.data_ptr<float>(),
                                act_sum_EH != nullptr ? act_sum_EH->data_ptr<float>() : nullptr);
  } else {
    plain_forward(x_TD, weight_A, weights, token_A, plan, output.hidden, act_sum_EH, output.y_TD);
  }
  return output;
}

/// The backward pass; weights' gradients that are defined in `into` are made there, and none
/// without `of_weights`.
Gradients run_backward(const Tensor& x_TD, const Tensor& weight_A, const ExpertWeights& weights,
                       const Tensor& token_A, const Plan& plan, const Hidden& hidden,
                       const Tensor& grad_y_TD, const ExpertWeights& into, bool of_weights) {
  if constexpr (kHasCudaKernels) {
    if (cuda_kernels_take(x_TD)) {
      auto made = cuda_experts_backward(cuda_view(x_TD, weight_A, weights, token_A, plan), hidden,
                                        grad_y_TD);
      for_each_weight(
          [](Tensor& gradient, const Tensor& place) {
            if (gradient.defined() && place.defined()) gradient = place.copy_(gradient);
          },
          made.weights, into);
      return {made.x_TD, made.weight_A, of_weights ? made.weights : ExpertWeights()};
    }
  }
  const auto like = [](const Tensor& tensor) {
    return torch::empty(tensor.sizes(), tensor.options());
  };
  Gradients grad{like(x_TD), like(weight_A), {}};
  for_each_weight(
      [&](Tensor& gradient, const Tensor& weight, const Tensor& place) {
        if (weight.defined() && of_weights) gradient = place.defined() ? place : like(weight);
      },
      grad.weights, weights, into);
  if (fused(x_TD)) {
    const auto data = [](const Tensor& tensor) { return tensor.data_ptr<float>(); };
    kernels::expert_mlp_backward(
        kernel_view(x_TD, weight_A, weights, token_A, plan), grad_y_TD.const_data_ptr<float>(),
        kernel_view(hidden),
        {data(grad.x_TD), data(grad.weight_A), of_each_weight(grad.weights, data),
         steps(grad.weights)});
  } else {
    plain_backward(x_TD, weight_A, weights, token_A, plan, hidden, grad_y_TD, grad);
  }
  return grad;
}

class ExpertMlp : public torch::autograd::Function<ExpertMlp> {
 public:
  /// `inputs`: as_list().
  static Tensor forward(AutogradContext* context, const torch::TensorList& inputs,
                        const Tensor& token_A, const Plan& plan, bool need_backward,
                        const Tensor* act_sum_EH) {
    auto output = run_forward(inputs[0], inputs[1], weights_of(inputs, plan), token_A, plan,
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
    const auto plan = saved_value<Plan>(context, "plan");
    const auto saved = context->get_saved_variables();
    const Hidden hidden{saved[saved.size() - 2], saved[saved.size() - 1]};
    const size_t inputs = saved.size() - 3;
    bool of_weights = false;  // not for frozen experts
    for (size_t i = 2; i < inputs; ++i) of_weights |= context->needs_input_grad(i);
    const auto grad = run_backward(saved[0], saved[1], weights_of(saved, plan), saved[inputs],
                                   plan, hidden, gradients[0].contiguous(), {}, of_weights);
    auto list = as_list(grad.x_TD, grad.weight_A, grad.weights);
    list.resize(inputs + 4);  // tokens, plan, need_backward, sums
    return list;
  }
};

void check_shapes(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                  const ExpertWeights& weights) {
  const auto& w1_EHD = weights.w1_EHD;
  EVOMOE_CHECK(w1_EHD.defined() && weights.w2_EDH.defined(),
               "experts need w1 and w2; {} is undefined", w1_EHD.defined() ? "w2" : "w1");
  EVOMOE_CHECK(x_TD.dim() == 2 && w1_EHD.dim() == 3 && x_TD.size(1) == w1_EHD.size(2),
               "the experts' input must be [T,D] and w1 [E,H,D], not {} and {}",
               c10::str(x_TD.sizes()), c10::str(w1_EHD.sizes()));
  EVOMOE_CHECK(token_A.dim() == 1 && token_A.scalar_type() == torch::kInt64 &&
                   weight_A.sizes() == token_A.sizes(),
               "assignments must be tokens int64 [A] and weights [A], not {} {} and {}",
               c10::toString(token_A.scalar_type()), c10::str(token_A.sizes()),
               c10::str(weight_A.sizes()));
  const auto check_type = [&](const Tensor& tensor) {
    EVOMOE_CHECK(x_TD.is_floating_point() && tensor.scalar_type() == x_TD.scalar_type() &&
                     tensor.device() == x_TD.device() && token_A.device() == x_TD.device(),
                 "input, assignments and weights of the experts must share one floating type and "
                 "device; the input is {} on {}, another is {} on {}",
                 c10::toString(x_TD.scalar_type()), c10::str(x_TD.device()),
                 c10::toString(tensor.scalar_type()), c10::str(tensor.device()));
  };
  check_type(weight_A);
  for_each_weight(
      [&](const Tensor& tensor, const char* name, const std::vector<int64_t>& shape) {
        if (!tensor.defined()) return;
        EVOMOE_CHECK(tensor.sizes() == torch::IntArrayRef(shape),
                     "with w1 {} the experts need {} [{}], not {}", c10::str(w1_EHD.sizes()), name,
                     fmt::join(shape, ","), c10::str(tensor.sizes()));
        check_type(tensor);
      },
      weights, kExpertWeightNames,
      expert_shapes({.experts = w1_EHD.size(0),
                     .model_dim = w1_EHD.size(2),
                     .hidden_dim = w1_EHD.size(1),
                     .gated = true}));
}

/// The offsets as numbers, checked; on the CPU the tokens as well, because kernels trust them.
std::vector<int64_t> checked_offsets(const Tensor& offset_E1, const Tensor& token_A, int64_t E,
                                     int64_t T) {
  EVOMOE_CHECK(offset_E1.is_cpu() && offset_E1.scalar_type() == torch::kInt64 &&
                   offset_E1.dim() == 1 && offset_E1.size(0) == E + 1,
               "the offsets of {} experts must be int64 [{}] on the CPU, not {} {} on {}", E, E + 1,
               c10::toString(offset_E1.scalar_type()), c10::str(offset_E1.sizes()),
               c10::str(offset_E1.device()));
  const auto contiguous = offset_E1.contiguous();
  const auto* first = contiguous.const_data_ptr<int64_t>();
  std::vector<int64_t> offset(first, first + E + 1);
  EVOMOE_CHECK(offset.front() == 0 && offset.back() == token_A.size(0) &&
                   std::is_sorted(offset.begin(), offset.end()),
               "the offsets of the experts must rise from 0 to the number of assignments, {}; they "
               "are {}",
               token_A.size(0), c10::str(torch::IntArrayRef(offset)));
  if (!token_A.is_cpu()) return offset;
  const auto* token = token_A.const_data_ptr<int64_t>();
  for (size_t e = 0; e + 1 < offset.size(); ++e) {
    for (int64_t a = offset[e]; a < offset[e + 1]; ++a) {
      EVOMOE_CHECK(token[a] >= 0 && token[a] < T,
                   "assignment {} of expert {} names token {}, but there are {} tokens",
                   a - offset[e], e, token[a], T);
      EVOMOE_CHECK(a == offset[e] || token[a - 1] < token[a],
                   "the tokens of expert {} must ascend without repeats, but {} follows {}", e,
                   token[a], token[a - 1]);
    }
  }
  return offset;
}

Plan make_plan(const ExpertMlpOptions& options, NoiseSite activation_site, NoiseSite output_site,
               const std::string& whose) {
  check_dropout_probability(options.activation_dropout, (whose + "activation dropout").c_str());
  check_dropout_probability(options.dropout, (whose + "dropout").c_str());
  Plan plan;
  plan.activation = parse_activation(options.activation);
  plan.activation_dropout = options.activation_dropout;
  plan.dropout = options.dropout;
  plan.recompute = options.recompute;
  plan.activation_key = options.noise.at(options.noise.layer, activation_site);
  plan.output_key = options.noise.at(options.noise.layer, output_site);
  return plan;
}

/// Weights as the kernels take them: each expert's own numbers without gaps.
ExpertWeights dense_experts(const ExpertWeights& weights) {
  return of_each_weight(weights, [](const Tensor& all) {
    const bool dense = all.is_cpu() && all.size(0) > 0 && all[0].is_contiguous() &&
                       all.stride(0) >= all[0].numel();
    return dense ? all : all.contiguous();
  });
}

Tensor apply_experts(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                     const ExpertWeights& weights, Plan plan, const Tensor* act_sum_EH = nullptr) {
  plan.has = of_each_weight(weights, [](const Tensor&) { return true; });
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

/// What expert_mlp() is asked for, checked. `token_A` is contiguous.
Plan checked_plan(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                  const Tensor& offset_E1, const ExpertWeights& weights,
                  const ExpertMlpOptions& options) {
  check_shapes(x_TD, token_A, weight_A, weights);
  auto plan = make_plan(options, NoiseSite::kExpertActivationDropout,
                        NoiseSite::kExpertOutputDropout, "the experts' ");
  plan.offset_E1 = checked_offsets(offset_E1, token_A, weights.w1_EHD.size(0), x_TD.size(0));
  plan.first_expert = options.first_expert;
  if (options.noise_token_T.defined() && (options.activation_dropout > 0 || options.dropout > 0)) {
    EVOMOE_CHECK(x_TD.is_cpu() && options.noise_token_T.numel() == x_TD.size(0),
                 "rows of the experts have noise of their own on the CPU only, one number for each "
                 "of {} rows, not {} on {}",
                 x_TD.size(0), options.noise_token_T.numel(), c10::str(x_TD.device()));
    plan.noise_token_A = options.noise_token_T.index_select(0, token_A);
  }
  return plan;
}

}  // namespace

Tensor expert_mlp(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                  const Tensor& offset_E1, const ExpertWeights& weights,
                  const ExpertMlpOptions& options, Tensor* output_sum_ED) {
  const auto token = token_A.contiguous();
  const auto plan = checked_plan(x_TD, token, weight_A, offset_E1, weights, options);
  if (output_sum_ED == nullptr) return apply_experts(x_TD, token, weight_A, weights, plan);
  const auto act_sum_EH = torch::zeros({weights.w1_EHD.size(0), weights.w1_EHD.size(1)},
                                       x_TD.options().requires_grad(false));
  auto y_TD = apply_experts(x_TD, token, weight_A, weights, plan, &act_sum_EH);
  *output_sum_ED = output_sums(act_sum_EH, weights, offset_E1);
  return y_TD;
}

ExpertMlpOutput expert_mlp_forward(const Tensor& x_TD, const Tensor& token_A,
                                   const Tensor& weight_A, const Tensor& offset_E1,
                                   const ExpertWeights& weights, const ExpertMlpOptions& options,
                                   bool keep_hidden) {
  const torch::NoGradGuard no_grad;
  const auto token = token_A.contiguous();
  const auto plan = checked_plan(x_TD, token, weight_A, offset_E1, weights, options);
  const auto output = run_forward(x_TD.contiguous(), weight_A.contiguous(), dense_experts(weights),
                                  token, plan, keep_hidden && !options.recompute, nullptr);
  return {output.y_TD, output.hidden.pre_AH, output.hidden.factor_AH};
}

ExpertMlpGradients expert_mlp_backward(const Tensor& x_TD, const Tensor& token_A,
                                       const Tensor& weight_A, const Tensor& offset_E1,
                                       const ExpertWeights& weights,
                                       const ExpertMlpOptions& options,
                                       const ExpertMlpOutput& forward, const Tensor& grad_y_TD,
                                       const ExpertWeights& into, bool of_weights) {
  const torch::NoGradGuard no_grad;
  const auto token = token_A.contiguous();
  const auto plan = checked_plan(x_TD, token, weight_A, offset_E1, weights, options);
  EVOMOE_CHECK(grad_y_TD.sizes() == x_TD.sizes() && grad_y_TD.scalar_type() == x_TD.scalar_type(),
               "the gradient of the experts' output must be like their input {} {}, not {} {}",
               c10::toString(x_TD.scalar_type()), c10::str(x_TD.sizes()),
               c10::toString(grad_y_TD.scalar_type()), c10::str(grad_y_TD.sizes()));
  return run_backward(x_TD.contiguous(), weight_A.contiguous(), dense_experts(weights), token,
                      plan, {forward.pre_AH, forward.factor_AH}, grad_y_TD.contiguous(), into,
                      of_weights);
}

Tensor feed_forward(const Tensor& x, const ExpertWeights& weights,
                    const ExpertMlpOptions& options) {
  EVOMOE_CHECK(x.dim() > 0, "a feed-forward block needs a tensor [..., D], not a number");
  const auto x_TD = x.reshape({-1, x.size(-1)});
  const auto T = x_TD.size(0);
  const auto token_A = torch::arange(T, x.options().dtype(torch::kInt64).requires_grad(false));
  const auto weight_A = torch::ones({T}, x.options().requires_grad(false));
  check_shapes(x_TD, token_A, weight_A, weights);
  EVOMOE_CHECK(weights.w1_EHD.size(0) == 1,
               "a feed-forward block has the weights of one expert, w1 [1,H,D], not {}",
               c10::str(weights.w1_EHD.sizes()));
  auto plan = make_plan(options, NoiseSite::kActivationDropout, NoiseSite::kFeedForwardDropout, "");
  plan.offset_E1 = {0, T};
  return apply_experts(x_TD, token_A, weight_A, weights, plan).view(x.sizes());
}

}  // namespace evomoe
