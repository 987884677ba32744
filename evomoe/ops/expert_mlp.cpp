#include "evomoe/ops/expert_mlp.h"

#include <algorithm>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/ops/expert_rows.h"
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
  int64_t most_rows() const {
    int64_t most = 0;
    for (int64_t e = 0; e < num_experts(); ++e) most = std::max(most, end(e) - begin(e));
    return most;
  }
};

/// Dropout of rows of one expert. An expert's columns follow those of the one before it, so that a
/// token has other numbers at each expert.
void drop_rows(Tensor rows, const Tensor& token_N, int64_t expert, double probability,
               const NoiseKey& key) {
  const auto blocks = (rows.size(1) + 3) / 4;
  philox_dropout_rows_(rows, token_N, expert * blocks, probability, key);
}

class ExpertMlp : public torch::autograd::Function<ExpertMlp> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x_TD, const Tensor& weight_A,
                        const Tensor& w1_EHD, const Tensor& b1_EH, const Tensor& w2_EDH,
                        const Tensor& b2_ED, const Tensor& token_A, const Plan& plan,
                        bool need_backward) {
    const auto D = x_TD.size(1), H = w1_EHD.size(1), rows = plan.most_rows();
    const bool keep = need_backward && !plan.recompute;
    const auto pre_AH = torch::empty({keep ? token_A.size(0) : rows, H}, x_TD.options());
    const auto act_buffer = torch::empty({rows, H}, x_TD.options());
    const auto row_buffer = torch::empty({rows, D}, x_TD.options());  // gathered x, then outputs
    auto y_TD = torch::zeros_like(x_TD);
    for (int64_t e = 0; e < plan.num_experts(); ++e) {
      const auto begin = plan.begin(e), end = plan.end(e), n = end - begin;
      if (n == 0) continue;
      const auto token_N = token_A.slice(0, begin, end);
      auto row_ND = row_buffer.slice(0, 0, n), act_NH = act_buffer.slice(0, 0, n);
      auto pre_NH = keep ? pre_AH.slice(0, begin, end) : pre_AH.slice(0, 0, n);
      gather_rows(x_TD, token_N, row_ND);
      torch::mm_out(pre_NH, row_ND, w1_EHD[e].t());
      bias_activation(pre_NH, b1_EH[e], act_NH, plan.activation);
      drop_rows(act_NH, token_N, e, plan.activation_dropout, plan.activation_key);
      torch::mm_out(row_ND, act_NH, w2_EDH[e].t());
      auto bias_D = b2_ED[e];
      if (plan.dropout > 0) {
        row_ND.add_(bias_D);
        drop_rows(row_ND, token_N, e, plan.dropout, plan.output_key);
        bias_D = Tensor();
      }
      scatter_add_rows(row_ND, token_N, weight_A.slice(0, begin, end), bias_D, y_TD);
    }
    if (need_backward) {
      save_value(context, "plan", plan);
      context->save_for_backward(
          {x_TD, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED, token_A, keep ? pre_AH : Tensor()});
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
    const auto D = x_TD.size(1), H = w1_EHD.size(1), rows = plan.most_rows();

    auto grad_x_TD = torch::zeros_like(x_TD);
    const auto grad_weight_A = torch::empty_like(weight_A);
    const auto grad_w1_EHD = torch::empty_like(w1_EHD), grad_b1_EH = torch::empty_like(b1_EH);
    const auto grad_w2_EDH = torch::empty_like(w2_EDH), grad_b2_ED = torch::empty_like(b2_ED);

    const auto out_buffer = torch::empty({rows, D}, x_TD.options());
    const auto in_buffer = torch::empty({rows, D}, x_TD.options());
    const auto act_buffer = torch::empty({rows, H}, x_TD.options());
    const auto grad_buffer = torch::empty({rows, H}, x_TD.options());
    const auto pre_buffer = plan.recompute ? torch::empty({rows, H}, x_TD.options()) : pre_AH;

    for (int64_t e = 0; e < plan.num_experts(); ++e) {
      const auto begin = plan.begin(e), end = plan.end(e), n = end - begin;
      auto grad_w1 = grad_w1_EHD[e], grad_b1 = grad_b1_EH[e];
      auto grad_w2 = grad_w2_EDH[e], grad_b2 = grad_b2_ED[e];
      if (n == 0) {
        // Zeros, not nothing: the reference's optimiser moves an idle expert all the same.
        for (auto* gradient : {&grad_w1, &grad_b1, &grad_w2, &grad_b2}) gradient->zero_();
        continue;
      }
      const auto token_N = token_A.slice(0, begin, end);
      const auto weight_N = weight_A.slice(0, begin, end);
      auto x_ND = in_buffer.slice(0, 0, n), act_NH = act_buffer.slice(0, 0, n);
      auto pre_NH = plan.recompute ? pre_buffer.slice(0, 0, n) : pre_AH.slice(0, begin, end);
      gather_rows(x_TD, token_N, x_ND);
      if (plan.recompute) torch::mm_out(pre_NH, x_ND, w1_EHD[e].t());
      bias_activation(pre_NH, plan.recompute ? b1_EH[e] : Tensor(), act_NH, plan.activation);

      auto grad_out_ND = out_buffer.slice(0, 0, n);
      gather_rows(grad_y_TD, token_N, grad_out_ND);
      drop_rows(grad_out_ND, token_N, e, plan.dropout, plan.output_key);
      auto grad_NH = grad_buffer.slice(0, 0, n);
      torch::mm_out(grad_NH, grad_out_ND, w2_EDH[e]);
      drop_rows(grad_NH, token_N, e, plan.activation_dropout, plan.activation_key);

      // The combine weight's gradient <grad_y, act w2^T + b2> as <grad_y w2, act> + <grad_y, b2>.
      auto grad_weight_N = grad_weight_A.slice(0, begin, end);
      activation_backward(grad_NH, pre_NH, act_NH, weight_N, grad_weight_N, plan.activation);
      grad_weight_N.addmv_(grad_out_ND, b2_ED[e]);
      drop_rows(act_NH, token_N, e, plan.activation_dropout, plan.activation_key);

      // act_NH holds weight * act now, so the weight need not be multiplied into grad_out.
      torch::mm_out(grad_w2, grad_out_ND.t(), act_NH);
      torch::mv_out(grad_b2, grad_out_ND.t(), weight_N);
      torch::mm_out(grad_w1, grad_NH.t(), x_ND);
      torch::sum_out(grad_b1, grad_NH, /*dim=*/0);
      auto grad_in_ND = grad_out_ND;  // its values are used up
      torch::mm_out(grad_in_ND, grad_NH, w1_EHD[e]);
      scatter_add_rows(grad_in_ND, token_N, Tensor(), Tensor(), grad_x_TD);
    }
    return {grad_x_TD,  grad_weight_A, grad_w1_EHD, grad_b1_EH, grad_w2_EDH,
            grad_b2_ED, Tensor(),      Tensor(),    Tensor()};
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

}  // namespace

Tensor expert_mlp(const Tensor& x_TD, const Tensor& token_A, const Tensor& weight_A,
                  const Tensor& offset_E1, const Tensor& w1_EHD, const Tensor& b1_EH,
                  const Tensor& w2_EDH, const Tensor& b2_ED, const ExpertMlpOptions& options) {
  check_shapes(x_TD, token_A, weight_A, w1_EHD, b1_EH, w2_EDH, b2_ED);
  check_dropout_probability(options.activation_dropout, "the experts' activation dropout");
  check_dropout_probability(options.dropout, "the experts' dropout");
  const auto token = token_A.contiguous();
  Plan plan;
  plan.offset_E1 = checked_offsets(offset_E1, token, w1_EHD.size(0), x_TD.size(0));
  plan.activation = parse_activation(options.activation);
  plan.activation_dropout = options.activation_dropout;
  plan.dropout = options.dropout;
  plan.recompute = options.recompute;
  plan.activation_key = options.noise.at(options.noise.layer, NoiseSite::kExpertActivationDropout);
  plan.output_key = options.noise.at(options.noise.layer, NoiseSite::kExpertOutputDropout);
  bool need_backward = false;
  for (const auto* tensor : {&x_TD, &weight_A, &w1_EHD, &b1_EH, &w2_EDH, &b2_ED}) {
    need_backward |= torch::GradMode::is_enabled() && tensor->requires_grad();
  }
  return ExpertMlp::apply(x_TD.contiguous(), weight_A.contiguous(), w1_EHD.contiguous(),
                          b1_EH.contiguous(), w2_EDH.contiguous(), b2_ED.contiguous(), token, plan,
                          need_backward);
}

}  // namespace evomoe
