#include "evomoe/ops/expert_mlp_cuda.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "evomoe/kernels/cuda/activation.h"
#include "evomoe/kernels/cuda/device.h"
#include "evomoe/kernels/cuda/noise.h"
#include "evomoe/kernels/cuda/rows.h"
#include "evomoe/ops/cuda_kernels.h"

namespace evomoe {
namespace {

using torch::Tensor;

/// The numbers of one expert's rows, on the device. Made without asking the device anything.
struct Places {
  Tensor offset_E1;  ///< int64, assignments of expert e are [offset[e], offset[e + 1])
  Tensor end_E;      ///< int32, as the grouped product wants them
  Tensor expert_A;   ///< int64, expert of each assignment
};

Places make_places(const CudaExperts& experts) {
  const auto device = experts.x_TD.device();
  const auto size = static_cast<int64_t>(experts.offset_E1.size());
  // A copy from pinned memory is queued; one from other memory would wait for the stream.
  auto offset_E1 =
      torch::empty({size}, torch::dtype(torch::kInt64).pinned_memory(device.is_cuda()));
  std::copy(experts.offset_E1.begin(), experts.offset_E1.end(), offset_E1.data_ptr<int64_t>());
  offset_E1 = offset_E1.to(device, /*non_blocking=*/true);
  const auto end_E = offset_E1.slice(0, 1), begin_E = offset_E1.slice(0, 0, size - 1);
  return {offset_E1, end_E.to(torch::kInt32),
          torch::repeat_interleave(end_E - begin_E, std::optional(experts.token_A.size(0)))};
}

/// One run of the experts: the kernels' calls, with what they have in common.
template <typename T>
class Run {
 public:
  explicit Run(const CudaExperts& experts)
      : experts_(experts), places_(make_places(experts)), stream_(experts.x_TD) {}

  Tensor rows(int64_t columns) const {
    return torch::empty({assignments(), columns}, experts_.x_TD.options());
  }

  /// x's row of each assignment.
  Tensor gather(const Tensor& x_TD) const {
    if (one_expert_has_all()) return x_TD;
    auto x_AD = rows(x_TD.size(1));
    kernels::cuda::gather_rows(kernel_data<T>(x_TD), token(), kernel_data<T>(x_AD), assignments(),
                               x_TD.size(1), stream_.get());
    return x_AD;
  }

  /// Each assignment's row times its expert's matrix.
  Tensor product(const Tensor& a_AK, const Tensor& b_EKN) const {
    if (experts_.grouped) return at::_grouped_mm(a_AK, b_EKN, places_.end_E);
    auto out_AN = rows(b_EKN.size(2));
    for_each_expert([&](int64_t e, int64_t begin, int64_t end) {
      auto out = out_AN.slice(0, begin, end);
      if (begin < end) torch::mm_out(out, a_AK.slice(0, begin, end), b_EKN[e]);
    });
    return out_AN;
  }

  /// a^T b over the rows of each expert, [E,M,N]; zeros where there are none. Made in `into` where
  /// that is defined.
  Tensor row_product(const Tensor& a_AM, const Tensor& b_AN, const Tensor& into) const {
    Tensor out_EMN;
    if (experts_.grouped) {
      out_EMN = at::_grouped_mm(a_AM.t(), b_AN, places_.end_E);
    } else if (into.defined()) {
      out_EMN = into;
    } else {
      out_EMN = torch::empty({places_.end_E.size(0), a_AM.size(1), b_AN.size(1)}, a_AM.options());
    }
    for_each_expert([&](int64_t e, int64_t begin, int64_t end) {
      auto out = out_EMN[e];
      if (begin == end) {
        out.zero_();
      } else if (!experts_.grouped) {
        torch::mm_out(out, a_AM.slice(0, begin, end).t(), b_AN.slice(0, begin, end));
      }
    });
    return experts_.grouped ? placed(out_EMN, into) : out_EMN;
  }

  /// What w2 takes: activation(pre + bias), times the factor of gated experts. Undefined bias: pre
  /// holds it. pre becomes what the activation saw.
  Tensor activate(const ExpertMlpHidden& hidden, const Tensor& bias_EH) const {
    const auto& pre_AH = hidden.pre_AH;
    auto act_AH = torch::empty_like(pre_AH);
    auto* const pre = kernel_data<T>(pre_AH);
    const auto* const bias = kernel_data_or_null<T>(bias_EH);
    if (hidden.factor_AH.defined()) {
      kernels::cuda::gated_bias_activation(pre, bias, expert(), kernel_data<T>(hidden.factor_AH),
                                           kernel_data<T>(act_AH), assignments(), pre_AH.size(1),
                                           experts_.activation, stream_.get());
    } else {
      kernels::cuda::bias_activation(pre, bias, expert(), kernel_data<T>(act_AH), assignments(),
                                     pre_AH.size(1), experts_.activation, stream_.get());
    }
    return act_AH;
  }

  /// Dropout from `x` to `out`, which may be the same. An expert's columns follow those of the one
  /// before it, so that a token has other numbers at each expert.
  void drop(const Tensor& x_AC, const Tensor& out_AC, double probability,
            const NoiseKey& key) const {
    kernels::cuda::dropout(kernel_data<T>(x_AC), kernel_data<T>(out_AC), token(), expert(),
                           assignments(), x_AC.size(1), /*first_block=*/0, probability, key,
                           stream_.get());
  }

  void add_bias(const Tensor& x_AD, const Tensor& bias_ED) const {
    kernels::cuda::add_bias(kernel_data<T>(x_AD), kernel_data<T>(bias_ED), expert(), assignments(),
                            x_AD.size(1), stream_.get());
  }

  /// Adds up what each token has from its assignments, in the order of the experts.
  Tensor combine(const Tensor& x_AD, const Tensor& weight_A, const Tensor& bias_ED) const {
    const auto T_ = experts_.x_TD.size(0), D = x_AD.size(1);
    const auto token_T1 = torch::arange(T_ + 1, experts_.token_A.options());
    auto row_A = experts_.token_A, first_T1 = token_T1;
    if (!one_expert_has_all()) {
      const auto [sorted_A, order_A] = at::sort(experts_.token_A, /*stable=*/true, /*dim=*/0,
                                                /*descending=*/false);
      row_A = order_A;
      first_T1 = torch::searchsorted(sorted_A, token_T1);
    }
    auto y_TD = torch::empty({T_, D}, x_AD.options());
    kernels::cuda::combine_rows(kernel_data<T>(x_AD), kernel_data_or_null<T>(weight_A),
                                kernel_data_or_null<T>(bias_ED), expert(),
                                kernel_data<int64_t>(first_T1), kernel_data<int64_t>(row_A),
                                kernel_data<T>(y_TD), T_, D, stream_.get());
    return y_TD;
  }

  /// Of x for every expert that has it.
  ExpertMlpHidden hidden_of(const Tensor& x_AD) const {
    const auto& weights = experts_.weights;
    ExpertMlpHidden hidden{product(x_AD, weights.w1_EHD.transpose(1, 2)), {}};
    if (weights.w3_EHD.defined()) hidden.factor_AH = product(x_AD, weights.w3_EHD.transpose(1, 2));
    return hidden;
  }

  /// Gradients of one pass through the activation.
  struct ActivationGradients {
    Tensor weight_A;   ///< <grad_y, act w2^T + b2> as <grad_y w2, act> + <grad_y, b2>
    Tensor factor_AH;  ///< of gated experts
  };

  /// The gradient of the pre-activation in grad_AH's place; act_AH is multiplied by the combine
  /// weight.
  ActivationGradients activate_backward(const Tensor& grad_AH, const ExpertMlpHidden& hidden,
                                        const Tensor& act_AH, const Tensor& grad_out_AD) const {
    ActivationGradients grad;
    const auto weight_grad_A =
        torch::empty({assignments()}, experts_.x_TD.options().dtype(torch::kFloat32));
    if (hidden.factor_AH.defined()) {
      grad.factor_AH = torch::empty_like(hidden.factor_AH);
      kernels::cuda::gated_activation_backward(
          kernel_data<T>(grad_AH), kernel_data<T>(hidden.pre_AH), kernel_data<T>(hidden.factor_AH),
          kernel_data<T>(act_AH), kernel_data<T>(experts_.weight_A), kernel_data<T>(grad.factor_AH),
          kernel_data<float>(weight_grad_A), assignments(), act_AH.size(1), experts_.activation,
          stream_.get());
    } else {
      kernels::cuda::activation_backward(kernel_data<T>(grad_AH), kernel_data<T>(hidden.pre_AH),
                                         kernel_data<T>(act_AH), kernel_data<T>(experts_.weight_A),
                                         kernel_data<float>(weight_grad_A), assignments(),
                                         act_AH.size(1), experts_.activation, stream_.get());
    }
    const auto& bias_ED = experts_.weights.b2_ED;
    if (bias_ED.defined()) {
      kernels::cuda::add_row_dots(kernel_data<T>(grad_out_AD), kernel_data<T>(bias_ED), expert(),
                                  kernel_data<float>(weight_grad_A), assignments(),
                                  grad_out_AD.size(1), stream_.get());
    }
    grad.weight_A = weight_grad_A.to(experts_.x_TD.scalar_type());
    return grad;
  }

  /// The sum over each expert's rows, times their combine weights where those are given; in `into`
  /// where that is defined.
  Tensor sum_rows(const Tensor& x_AC, const Tensor& weight_A, const Tensor& into) const {
    const auto E = places_.end_E.size(0);
    auto sum_EC = torch::empty({E, x_AC.size(1)}, x_AC.options());
    kernels::cuda::sum_groups(kernel_data<T>(x_AC), kernel_data_or_null<T>(weight_A),
                              kernel_data<int64_t>(places_.offset_E1), kernel_data<T>(sum_EC), E,
                              x_AC.size(1), stream_.get());
    return placed(sum_EC, into);
  }

 private:
  static Tensor placed(const Tensor& made, const Tensor& into) {
    return into.defined() ? into.copy_(made) : made;
  }

  int64_t assignments() const { return experts_.token_A.size(0); }
  const int64_t* token() const { return kernel_data<int64_t>(experts_.token_A); }
  const int64_t* expert() const { return kernel_data<int64_t>(places_.expert_A); }

  /// A dense feed-forward block: the rows lie where the tokens do.
  bool one_expert_has_all() const {
    return experts_.offset_E1.size() == 2 && assignments() == experts_.x_TD.size(0);
  }

  template <typename Work>
  void for_each_expert(const Work& work) const {
    for (size_t e = 0; e + 1 < experts_.offset_E1.size(); ++e)
      work(static_cast<int64_t>(e), experts_.offset_E1[e], experts_.offset_E1[e + 1]);
  }

  const CudaExperts& experts_;
  Places places_;
  DeviceStream stream_;
};

template <typename T>
ExpertMlpOutput forward(const CudaExperts& experts, bool keep_hidden) {
  const Run<T> run(experts);
  const auto& weights = experts.weights;
  auto hidden = run.hidden_of(run.gather(experts.x_TD));
  const auto act_AH = run.activate(hidden, weights.b1_EH);
  if (!keep_hidden) hidden = {};
  if (experts.activation_dropout > 0) {
    run.drop(act_AH, act_AH, experts.activation_dropout, experts.activation_key);
  }
  const auto out_AD = run.product(act_AH, weights.w2_EDH.transpose(1, 2));
  if (experts.dropout == 0) {
    return {run.combine(out_AD, experts.weight_A, weights.b2_ED), hidden};
  }
  if (weights.b2_ED.defined()) run.add_bias(out_AD, weights.b2_ED);
  run.drop(out_AD, out_AD, experts.dropout, experts.output_key);
  return {run.combine(out_AD, experts.weight_A, /*bias_ED=*/{}), hidden};
}

template <typename T>
ExpertMlpGradients backward(const CudaExperts& experts, ExpertMlpHidden hidden,
                            const Tensor& grad_y_TD, const ExpertWeights& into, bool of_weights) {
  const Run<T> run(experts);
  const auto& weights = experts.weights;
  const auto x_AD = run.gather(experts.x_TD);
  const bool kept = hidden.pre_AH.defined();
  if (!kept) hidden = run.hidden_of(x_AD);
  const auto act_AH = run.activate(hidden, kept ? Tensor() : weights.b1_EH);

  auto grad_out_AD = run.gather(grad_y_TD);
  if (experts.dropout > 0) {
    const auto dropped_AD = torch::empty_like(grad_out_AD);
    run.drop(grad_out_AD, dropped_AD, experts.dropout, experts.output_key);
    grad_out_AD = dropped_AD;
  }
  const auto grad_AH = run.product(grad_out_AD, weights.w2_EDH);
  const auto drop_hidden = [&](const Tensor& rows_AH) {
    if (experts.activation_dropout == 0) return;
    run.drop(rows_AH, rows_AH, experts.activation_dropout, experts.activation_key);
  };
  drop_hidden(grad_AH);
  ExpertMlpGradients grad;
  const auto of_activation = run.activate_backward(grad_AH, hidden, act_AH, grad_out_AD);
  grad.weight_A = of_activation.weight_A;

  auto grad_x_AD = run.product(grad_AH, weights.w1_EHD);
  if (weights.w3_EHD.defined())
    grad_x_AD.add_(run.product(of_activation.factor_AH, weights.w3_EHD));
  grad.x_TD = run.combine(grad_x_AD, /*weight_A=*/{}, /*bias_ED=*/{});
  if (!of_weights) return grad;

  drop_hidden(act_AH);
  // It holds weight * act now, so the weight need not be multiplied into grad_out.
  auto& of = grad.weights;
  of.w2_EDH = run.row_product(grad_out_AD, act_AH, into.w2_EDH);
  if (weights.b2_ED.defined()) of.b2_ED = run.sum_rows(grad_out_AD, experts.weight_A, into.b2_ED);
  of.w1_EHD = run.row_product(grad_AH, x_AD, into.w1_EHD);
  if (weights.b1_EH.defined()) of.b1_EH = run.sum_rows(grad_AH, /*weight_A=*/{}, into.b1_EH);
  if (weights.w3_EHD.defined())
    of.w3_EHD = run.row_product(of_activation.factor_AH, x_AD, into.w3_EHD);
  return grad;
}

}  // namespace

bool can_group_products(const Tensor& x_TD, const Tensor& w1_EHD) {
  const auto whole = [](int64_t columns) { return columns % 8 == 0; };
  if (x_TD.scalar_type() != torch::kBFloat16 || !whole(w1_EHD.size(1)) || !whole(w1_EHD.size(2)))
    return false;
  const int capability = kernels::cuda::compute_capability(x_TD.get_device());
  return capability == 90 || capability / 10 == 10;
}

ExpertMlpOutput cuda_experts_forward(const CudaExperts& experts, bool keep_hidden) {
  if (experts.token_A.size(0) == 0) return {torch::zeros_like(experts.x_TD), {}};
  ExpertMlpOutput output;
  with_element(experts.x_TD,
               [&](auto element) { output = forward<decltype(element)>(experts, keep_hidden); });
  return output;
}

ExpertMlpGradients cuda_experts_backward(const CudaExperts& experts, ExpertMlpHidden hidden,
                                         const Tensor& grad_y_TD, const ExpertWeights& into,
                                         bool of_weights) {
  ExpertMlpGradients grad;
  if (experts.token_A.size(0) == 0) {
    grad.x_TD = torch::zeros_like(experts.x_TD);
    grad.weight_A = torch::zeros_like(experts.weight_A);
    for_each_weight(
        [&](Tensor& gradient, const Tensor& weight, const Tensor& place) {
          if (!weight.defined() || !of_weights) return;
          gradient = place.defined() ? place.zero_() : torch::zeros_like(weight);
        },
        grad.weights, experts.weights, into);
    return grad;
  }
  with_element(experts.x_TD, [&](auto element) {
    grad = backward<decltype(element)>(experts, std::move(hidden), grad_y_TD, into, of_weights);
  });
  return grad;
}

}  // namespace evomoe
