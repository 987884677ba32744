#include "evomoe/ops/expert_mlp.h"

#include <algorithm>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/kernels/cpu/expert_mlp.h"
#include "evomoe/kernels/cpu/matmul.h"
#include "evomoe/ops/activation.h"
#include "evomoe/ops/cuda_kernels.h"
#include "evomoe/ops/expert_mlp_cuda.h"
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
  Activation activation = Activation::kGelu;
  double activation_dropout = 0, dropout = 0;
  bool recompute = false;
  NoiseKey activation_key, output_key;

  int64_t num_experts() const { return static_cast<int64_t>(offset_E1.size()) - 1; }
  int64_t begin(int64_t expert) const { return offset_E1[static_cast<size_t>(expert)]; }
  int64_t end(int64_t expert) const { return offset_E1[static_cast<size_t>(expert) + 1]; }
};

/// Dropout of rows of one expert. An expert's columns follow those of the one before it, so that a
/// token has other numbers at each expert.
void drop_rows(Tensor rows, const Tensor& token_N, int64_t expert, double probability,
               const NoiseKey& key) {
  const auto blocks = (rows.size(1) + 3) / 4;
  philox_dropout_rows_(rows, token_N, expert * blocks, probability, key);
}

/// The forward pass in plain tensor operations. `pre_AH` receives the pre-activations; undefined:
/// they are not kept.
void plain_forward(const Tensor& x_TD, const Tensor& weight_A, const Tensor& w1_EHD,
                   const Tensor& b1_EH, const Tensor& w2_EDH, const Tensor& b2_ED,
                   const Tensor& token_A, const Plan& plan, const Tensor& pre_AH, Tensor& y_TD) {
  y_TD.zero_();
  for (int64_t e = 0; e < plan.num_experts(); ++e) {
    const auto begin = plan.begin(e), end = plan.end(e);
    if (begin == end) continue;
    const auto token_N = token_A.slice(0, begin, end);
    const auto pre_NH = torch::addmm(b1_EH[e], x_TD.index_select(0, token_N), w1_EHD[e].t());
    if (pre_AH.defined()) pre_AH.slice(0, begin, end).copy_(pre_NH);
    auto act_NH = activate(pre_NH, plan.activation);
    drop_rows(act_NH, token_N, e, plan.activation_dropout, plan.activation_key);
    auto out_ND = torch::addmm(b2_ED[e], act_NH, w2_EDH[e].t());
    drop_rows(out_ND, token_N, e, plan.dropout, plan.output_key);
    y_TD.index_add_(0, token_N, out_ND.mul_(weight_A.slice(0, begin, end).unsqueeze(1)));
  }
}

struct Gradients {
  Tensor x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED;
};

/// The backward pass in plain tensor operations.
void plain_backward(const Tensor& x_TD, const Tensor& weight_A, const Tensor& w1_EHD,
                    const Tensor& b1_EH, const Tensor& w2_EDH, const Tensor& b2_ED,
                    const Tensor& token_A, const Plan& plan, const Tensor& pre_AH,
                    const Tensor& grad_y_TD, Gradients& grad) {
  grad.x_TD.zero_();
  for (int64_t e = 0; e < plan.num_experts(); ++e) {
    const auto begin = plan.begin(e), end = plan.end(e);
    auto grad_w1 = grad.w1_EHD[e], grad_b1 = grad.b1_EH[e];
    auto grad_w2 = grad.w2_EDH[e], grad_b2 = grad.b2_ED[e];
    if (begin == end) {
      // Zeros, not nothing: the reference's optimiser moves an idle expert all the same.
      for (auto* gradient : {&grad_w1, &grad_b1, &grad_w2, &grad_b2}) gradient->zero_();
      continue;
    }
    const auto token_N = token_A.slice(0, begin, end);
    const auto weight_N1 = weight_A.slice(0, begin, end).unsqueeze(1);
    const auto x_ND = x_TD.index_select(0, token_N);
    const auto pre_NH = pre_AH.defined() ? pre_AH.slice(0, begin, end)
                                         : torch::addmm(b1_EH[e], x_ND, w1_EHD[e].t());
    auto act_NH = activate(pre_NH, plan.activation);
    drop_rows(act_NH, token_N, e, plan.activation_dropout, plan.activation_key);
    auto grad_out_ND = grad_y_TD.index_select(0, token_N);
    drop_rows(grad_out_ND, token_N, e, plan.dropout, plan.output_key);
    auto grad_act_NH = torch::mm(grad_out_ND, w2_EDH[e]);

    // The combine weight's gradient <grad_y, act w2^T + b2> as <grad_y w2, act> + <grad_y, b2>.
    grad.weight_A.slice(0, begin, end)
        .copy_((grad_act_NH * act_NH).sum(1) + torch::mv(grad_out_ND, b2_ED[e]));
    const auto weighted_out_ND = grad_out_ND * weight_N1;
    torch::mm_out(grad_w2, weighted_out_ND.t(), act_NH);
    torch::sum_out(grad_b2, weighted_out_ND, /*dim=*/0);
    drop_rows(grad_act_NH, token_N, e, plan.activation_dropout, plan.activation_key);
    const auto grad_NH = activate_backward(grad_act_NH, pre_NH, plan.activation) * weight_N1;
    torch::mm_out(grad_w1, grad_NH.t(), x_ND);
    torch::sum_out(grad_b1, grad_NH, /*dim=*/0);
    grad.x_TD.index_add_(0, token_N, torch::mm(grad_NH, w1_EHD[e]));
  }
}

bool fused(const Tensor& x) {
  return x.is_cpu() && x.scalar_type() == torch::kFloat32 && kernels::has_matmul();
}

/// The kernels' view of the same.
kernels::ExpertMlp kernel_view(const Tensor& x_TD, const Tensor& weight_A, const Tensor& w1_EHD,
                               const Tensor& b1_EH, const Tensor& w2_EDH, const Tensor& b2_ED,
                               const Tensor& token_A, const Plan& plan) {
  const auto data = [](const Tensor& tensor) { return tensor.const_data_ptr<float>(); };
  return {.tokens = x_TD.size(0),
          .experts = plan.num_experts(),
          .model_dim = x_TD.size(1),
          .hidden_dim = w1_EHD.size(1),
          .token = token_A.const_data_ptr<int64_t>(),
          .offset = plan.offset_E1.data(),
          .x = data(x_TD),
          .weight = data(weight_A),
          .w1 = data(w1_EHD),
          .b1 = data(b1_EH),
          .w2 = data(w2_EDH),
          .b2 = data(b2_ED),
          .activation = plan.activation,
          .activation_dropout = plan.activation_dropout,
          .dropout = plan.dropout,
          .activation_key = plan.activation_key,
          .output_key = plan.output_key};
}

/// The view of the kernels for CUDA devices.
[[maybe_unused]] CudaExperts cuda_view(const Tensor& x_TD, const Tensor& weight_A,
                                       const Tensor& w1_EHD, const Tensor& b1_EH,
                                       const Tensor& w2_EDH, const Tensor& b2_ED,
                                       const Tensor& token_A, const Plan& plan) {
  CudaExperts view{.x_TD = x_TD,
                   .weight_A = weight_A,
                   .w1_EHD = w1_EHD,
                   .b1_EH = b1_EH,
                   .w2_EDH = w2_EDH,
                   .b2_ED = b2_ED,
                   .token_A = token_A,
                   .offset_E1 = plan.offset_E1,
                   .activation = plan.activation,
                   .activation_dropout = plan.activation_dropout,
                   .dropout = plan.dropout,
                   .activation_key = plan.activation_key,
                   .output_key = plan.output_key};
  // One expert's products are the library's business as they are.
  if constexpr (kHasCudaKernels) {
    view.grouped = plan.num_experts() > 1 && can_group_products(x_TD, w1_EHD);
  }
  return view;
}

class ExpertMlp : public torch::autograd::Function<ExpertMlp> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x_TD, const Tensor& weight_A,
                        const Tensor& w1_EHD, const Tensor& b1_EH, const Tensor& w2_EDH,
                        const Tensor& b2_ED, const Tensor& token_A, const Plan& plan,
                        bool need_backward) {
    const bool keep = need_backward && !plan.recompute;
    Tensor y_TD, pre_AH;
    if constexpr (kHasCudaKernels) {
      if (cuda_kernels_take(x_TD)) {
        const auto output = cuda_experts_forward(
            cuda_view(x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, token_A, plan), keep);
        y_TD = output.y_TD;
        pre_AH = output.pre_AH;
      }
    }
    if (!y_TD.defined()) {
      y_TD = torch::empty_like(x_TD);
      if (keep) pre_AH = torch::empty({token_A.size(0), w1_EHD.size(1)}, x_TD.options());
      if (fused(x_TD)) {
        kernels::expert_mlp_forward(
            kernel_view(x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, token_A, plan),
            keep ? pre_AH.data_ptr<float>() : nullptr, y_TD.data_ptr<float>());
      } else {
        plain_forward(x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, token_A, plan, pre_AH, y_TD);
      }
    }
    if (need_backward) {
      save_value(context, "plan", plan);
      context->save_for_backward({x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, token_A, pre_AH});
    }
    return y_TD;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    EVOMOE_CHECK(!torch::GradMode::is_enabled(),
                 "expert_mlp cannot be differentiated twice; call backward without create_graph");
    const auto plan = saved_value<Plan>(context, "plan");
    const auto saved = context->get_saved_variables();
    const auto &x_TD = saved[0], &weight_A = saved[1], &w1_EHD = saved[2], &b1_EH = saved[3],
               &w2_EDH = saved[4], &b2_ED = saved[5], &token_A = saved[6], &pre_AH = saved[7];
    const auto grad_y_TD = gradients[0].contiguous();
    if constexpr (kHasCudaKernels) {
      if (cuda_kernels_take(x_TD)) {
        const auto grad = cuda_experts_backward(
            cuda_view(x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, token_A, plan), pre_AH,
            grad_y_TD);
        return {grad.x_TD,  grad.weight_A, grad.w1_EHD, grad.b1_EH, grad.w2_EDH,
                grad.b2_ED, Tensor(),      Tensor(),    Tensor()};
      }
    }
    Gradients grad{torch::empty_like(x_TD),  torch::empty_like(weight_A), torch::empty_like(w1_EHD),
                   torch::empty_like(b1_EH), torch::empty_like(w2_EDH),   torch::empty_like(b2_ED)};
    if (fused(x_TD)) {
      const auto data = [](Tensor& tensor) { return tensor.data_ptr<float>(); };
      kernels::expert_mlp_backward(
          kernel_view(x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, token_A, plan),
          grad_y_TD.const_data_ptr<float>(),
          pre_AH.defined() ? pre_AH.const_data_ptr<float>() : nullptr,
          {data(grad.x_TD), data(grad.weight_A), data(grad.w1_EHD), data(grad.b1_EH),
           data(grad.w2_EDH), data(grad.b2_ED)});
    } else {
      plain_backward(x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, token_A, plan, pre_AH, grad_y_TD,
                     grad);
    }
    return {grad.x_TD,  grad.weight_A, grad.w1_EHD, grad.b1_EH, grad.w2_EDH,
            grad.b2_ED, Tensor(),      Tensor(),    Tensor()};
  }
};

void check_shapes(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                  const Tensor& w1_EHD, const Tensor& b1_EH, const Tensor& w2_EDH,
                  const Tensor& b2_ED) {
  EVOMOE_CHECK(x_TD.dim() == 2 && w1_EHD.dim() == 3 && x_TD.size(1) == w1_EHD.size(2),
               "the experts' input must be [T,D] and w1 [E,H,D], not {} and {}",
               c10::str(x_TD.sizes()), c10::str(w1_EHD.sizes()));
  const auto E = w1_EHD.size(0), H = w1_EHD.size(1), D = w1_EHD.size(2);
  EVOMOE_CHECK((b1_EH.sizes() == torch::IntArrayRef{E, H}) &&
                   (w2_EDH.sizes() == torch::IntArrayRef{E, D, H}) &&
                   (b2_ED.sizes() == torch::IntArrayRef{E, D}),
               "with w1 {} the experts need b1 [{},{}], w2 [{},{},{}] and b2 [{},{}], not {}, {} "
               "and {}",
               c10::str(w1_EHD.sizes()), E, H, E, D, H, E, D, c10::str(b1_EH.sizes()),
               c10::str(w2_EDH.sizes()), c10::str(b2_ED.sizes()));
  EVOMOE_CHECK(token_A.dim() == 1 && token_A.scalar_type() == torch::kInt64 &&
                   weight_A.sizes() == token_A.sizes(),
               "assignments must be tokens int64 [A] and weights [A], not {} {} and {}",
               c10::toString(token_A.scalar_type()), c10::str(token_A.sizes()),
               c10::str(weight_A.sizes()));
  for (const auto* tensor : {&weight_A, &w1_EHD, &b1_EH, &w2_EDH, &b2_ED}) {
    EVOMOE_CHECK(x_TD.is_floating_point() && tensor->scalar_type() == x_TD.scalar_type() &&
                     tensor->device() == x_TD.device() && token_A.device() == x_TD.device(),
                 "input, assignments and weights of the experts must share one floating type and "
                 "device; the input is {} on {}, another is {} on {}",
                 c10::toString(x_TD.scalar_type()), c10::str(x_TD.device()),
                 c10::toString(tensor->scalar_type()), c10::str(tensor->device()));
  }
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

Tensor apply_experts(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                     const Tensor& w1_EHD, const Tensor& b1_EH, const Tensor& w2_EDH,
                     const Tensor& b2_ED, const Plan& plan) {
  bool need_backward = false;
  for (const auto* tensor : {&x_TD, &weight_A, &w1_EHD, &b1_EH, &w2_EDH, &b2_ED}) {
    need_backward |= torch::GradMode::is_enabled() && tensor->requires_grad();
  }
  return ExpertMlp::apply(x_TD.contiguous(), weight_A.contiguous(), w1_EHD.contiguous(),
                          b1_EH.contiguous(), w2_EDH.contiguous(), b2_ED.contiguous(), token_A,
                          plan, need_backward);
}

}  // namespace

Tensor expert_mlp(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                  const Tensor& offset_E1, const Tensor& w1_EHD, const Tensor& b1_EH,
                  const Tensor& w2_EDH, const Tensor& b2_ED, const ExpertMlpOptions& options) {
  check_shapes(x_TD, token_A, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED);
  const auto token = token_A.contiguous();
  auto plan = make_plan(options, NoiseSite::kExpertActivationDropout,
                        NoiseSite::kExpertOutputDropout, "the experts' ");
  plan.offset_E1 = checked_offsets(offset_E1, token, w1_EHD.size(0), x_TD.size(0));
  return apply_experts(x_TD, token, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, plan);
}

Tensor feed_forward(const Tensor& x, const Tensor& w1_HD, const Tensor& b1_H, const Tensor& w2_DH,
                    const Tensor& b2_D, const ExpertMlpOptions& options) {
  EVOMOE_CHECK(x.dim() > 0, "a feed-forward block needs a tensor [..., D], not a number");
  const auto x_TD = x.reshape({-1, x.size(-1)});
  const auto T = x_TD.size(0);
  const auto token_A = torch::arange(T, x.options().dtype(torch::kInt64).requires_grad(false));
  const auto weight_A = torch::ones({T}, x.options().requires_grad(false));
  const auto one = [](const Tensor& tensor) { return tensor.unsqueeze(0); };
  check_shapes(x_TD, token_A, weight_A, one(w1_HD), one(b1_H), one(w2_DH), one(b2_D));
  auto plan = make_plan(options, NoiseSite::kActivationDropout, NoiseSite::kFeedForwardDropout, "");
  plan.offset_E1 = {0, T};
  return apply_experts(x_TD, token_A, weight_A, one(w1_HD), one(b1_H), one(w2_DH), one(b2_D), plan)
      .view(x.sizes());
}

}  // namespace evomoe
