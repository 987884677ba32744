// torch.ops.evomoe: the experts' feed-forward blocks as operators, known to autograd and
// torch.compile.
#include <torch/library.h>
#include <torch/torch.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/ops/expert_mlp_passes.h"

namespace evomoe::python {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<Tensor>;

Tensor or_undefined(const MaybeTensor& tensor) { return tensor ? *tensor : Tensor(); }

/// What an operator returns in the place of a tensor that there is not.
Tensor or_empty(const Tensor& tensor, const Tensor& like) {
  return tensor.defined() ? tensor : torch::empty({0}, like.options());
}

/// The halves of a gate_up weight [E,2H,D].
Tensor half(const Tensor& gate_up, int64_t number) {
  const auto H = gate_up.size(1) / 2;
  return gate_up.slice(1, number * H, (number + 1) * H);
}

ExpertWeights expert_weights(const Tensor& w1, const Tensor& w2, const MaybeTensor& b1,
                             const MaybeTensor& b2, const MaybeTensor& w3, bool gate_up) {
  ExpertWeights weights{.w1_EHD = w1,
                        .b1_EH = or_undefined(b1),
                        .w2_EDH = w2,
                        .b2_ED = or_undefined(b2),
                        .w3_EHD = or_undefined(w3)};
  if (gate_up) {
    EVOMOE_CHECK(!weights.w3_EHD.defined(),
                 "with gate_up=True w1 holds both halves [E,2H,D], so there can be no w3");
    EVOMOE_CHECK(w1.dim() == 3 && w1.size(1) % 2 == 0,
                 "with gate_up=True w1 must be [E,2H,D], not {}", c10::str(w1.sizes()));
    weights.w1_EHD = half(w1, 0);
    weights.w3_EHD = half(w1, 1);
  }
  return weights;
}

ExpertMlpOptions mlp_options(std::string_view activation) {
  ExpertMlpOptions options;
  options.activation = std::string(activation);
  return options;
}

std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& x, const Tensor& token,
                                           const Tensor& weight, const Tensor& offset,
                                           const Tensor& w1, const Tensor& w2,
                                           const MaybeTensor& b1, const MaybeTensor& b2,
                                           const MaybeTensor& w3, std::string_view activation,
                                           bool gate_up, bool keep) {
  const auto output =
      expert_mlp_forward(x, token, weight, offset, expert_weights(w1, w2, b1, b2, w3, gate_up),
                         mlp_options(activation), keep);
  return {output.y_TD, or_empty(output.hidden.pre_AH, x), or_empty(output.hidden.factor_AH, x)};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> backward(
    const Tensor& grad_y, const Tensor& x, const Tensor& token, const Tensor& weight,
    const Tensor& offset, const Tensor& w1, const Tensor& w2, const MaybeTensor& b1,
    const MaybeTensor& b2, const MaybeTensor& w3, const Tensor& pre, const Tensor& factor,
    std::string_view activation, bool gate_up, bool of_weights) {
  // Empty is what the forward pass gave for what it did not keep; or there are no assignments.
  const auto kept = [&](const Tensor& tensor) { return tensor.dim() == 2 ? tensor : Tensor(); };
  Tensor grad_w1;
  ExpertWeights into;
  if (gate_up && of_weights) {
    grad_w1 = torch::empty(w1.sizes(), w1.options());
    into.w1_EHD = half(grad_w1, 0);
    into.w3_EHD = half(grad_w1, 1);
  }
  const auto grad = expert_mlp_backward(
      x, token, weight, offset, expert_weights(w1, w2, b1, b2, w3, gate_up),
      mlp_options(activation), {kept(pre), kept(factor)}, grad_y, into, of_weights);
  return {grad.x_TD,
          grad.weight_A,
          or_empty(gate_up ? grad_w1 : grad.weights.w1_EHD, x),
          or_empty(grad.weights.w2_EDH, x),
          or_empty(grad.weights.b1_EH, x),
          or_empty(grad.weights.b2_ED, x),
          gate_up ? or_empty({}, x) : or_empty(grad.weights.w3_EHD, x)};
}

Tensor inference(const Tensor& x, const Tensor& token, const Tensor& weight, const Tensor& offset,
                 const Tensor& w1, const Tensor& w2, const MaybeTensor& b1, const MaybeTensor& b2,
                 const MaybeTensor& w3, std::string_view activation, bool gate_up,
                 bool /*recompute*/) {
  return std::get<0>(
      forward(x, token, weight, offset, w1, w2, b1, b2, w3, activation, gate_up, false));
}

template <typename Function>
auto operator_of(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

/// Forward and backward pass are operators themselves, so that a compiled graph holds them.
class ExpertMlpFunction : public torch::autograd::Function<ExpertMlpFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& token,
                        const Tensor& weight, const Tensor& offset, const Tensor& w1,
                        const Tensor& w2, const MaybeTensor& b1, const MaybeTensor& b2,
                        const MaybeTensor& w3, const std::string& activation, bool gate_up,
                        bool recompute) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    static const auto op = operator_of<decltype(python::forward)>("evomoe::expert_mlp_forward");
    auto [y, pre, factor] = op.call(x, token, weight, offset, w1, w2, b1, b2, w3, activation,
                                    gate_up, /*keep=*/!recompute);
    context->save_for_backward({x, token, weight, offset, w1, w2, or_undefined(b1),
                                or_undefined(b2), or_undefined(w3), pre, factor});
    context->saved_data["activation"] = activation;
    context->saved_data["gate_up"] = gate_up;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    EVOMOE_CHECK(!torch::GradMode::is_enabled(),
                 "expert_mlp cannot be differentiated twice; call backward without create_graph");
    const auto saved = context->get_saved_variables();
    const auto maybe = [&](size_t i) {
      return saved[i].defined() ? MaybeTensor(saved[i]) : MaybeTensor();
    };
    const bool gate_up = context->saved_data["gate_up"].toBool();
    bool of_weights = false;  // not for frozen experts
    for (size_t i = 4, edge = 4; i <= 8; ++i) {
      if (saved[i].defined()) of_weights |= context->needs_input_grad(edge++);
    }
    static const auto op = operator_of<decltype(python::backward)>("evomoe::expert_mlp_backward");
    auto [x, weight, w1, w2, b1, b2, w3] =
        op.call(gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], maybe(6),
                maybe(7), maybe(8), saved[9], saved[10],
                context->saved_data["activation"].toStringRef(), gate_up, of_weights);
    const auto of = [&](size_t i, const Tensor& gradient) {
      return saved[i].defined() && of_weights ? gradient : Tensor();
    };
    return {x, {}, weight, {}, of(4, w1), of(5, w2), of(6, b1), of(7, b2), of(8, w3), {}, {}, {}};
  }
};

Tensor with_autograd(const Tensor& x, const Tensor& token, const Tensor& weight,
                     const Tensor& offset, const Tensor& w1, const Tensor& w2,
                     const MaybeTensor& b1, const MaybeTensor& b2, const MaybeTensor& w3,
                     std::string_view activation, bool gate_up, bool recompute) {
  bool needed =
      x.requires_grad() || weight.requires_grad() || w1.requires_grad() || w2.requires_grad();
  for (const auto* tensor : {&b1, &b2, &w3}) needed |= *tensor && (*tensor)->requires_grad();
  if (needed && torch::GradMode::is_enabled()) {
    return ExpertMlpFunction::apply(x, token, weight, offset, w1, w2, b1, b2, w3,
                                    std::string(activation), gate_up, recompute);
  }
  const at::AutoDispatchBelowADInplaceOrView guard;
  static const auto op = operator_of<decltype(inference)>("evomoe::expert_mlp");
  return op.call(x, token, weight, offset, w1, w2, b1, b2, w3, activation, gate_up, recompute);
}

/// The experts that each token has, expert_TK int64 [T,K] (each token's are different), as the
/// assignments that expert_mlp takes: their tokens, their places in expert_TK read row by row,
/// and the offsets of the experts.
std::tuple<Tensor, Tensor, Tensor> assignments(const Tensor& expert_TK, int64_t experts) {
  EVOMOE_CHECK(expert_TK.dim() == 2 && expert_TK.scalar_type() == torch::kInt64,
               "the experts of tokens must be int64 [T,K], not {} {}",
               c10::toString(expert_TK.scalar_type()), c10::str(expert_TK.sizes()));
  EVOMOE_CHECK(experts > 0, "there must be an expert, not {}", experts);
  const auto on_cpu = expert_TK.cpu().contiguous();
  const auto* expert = on_cpu.const_data_ptr<int64_t>();
  const auto A = on_cpu.numel(), K = std::max<int64_t>(on_cpu.size(1), 1);
  const auto offset_E1 = torch::zeros({experts + 1}, torch::kInt64);
  auto* offset = offset_E1.data_ptr<int64_t>();
  for (int64_t a = 0; a < A; ++a) {
    EVOMOE_CHECK(expert[a] >= 0 && expert[a] < experts,
                 "token {} has expert {}, but the experts are 0 to {}", a / K, expert[a],
                 experts - 1);
    ++offset[expert[a] + 1];
  }
  std::partial_sum(offset, offset + experts + 1, offset);
  const auto token_A = torch::empty({A}, torch::kInt64), place_A = torch::empty({A}, torch::kInt64);
  auto* token = token_A.data_ptr<int64_t>();
  auto* place = place_A.data_ptr<int64_t>();
  std::vector<int64_t> next(offset, offset + experts);
  for (int64_t a = 0; a < A; ++a) {
    const auto to = next[static_cast<size_t>(expert[a])]++;
    token[to] = a / K;
    place[to] = a;
  }
  return {token_A.to(expert_TK.device()), place_A.to(expert_TK.device()), offset_E1};
}

}  // namespace

TORCH_LIBRARY(evomoe, library) {
  library.def(
      "expert_mlp(Tensor x, Tensor token, Tensor weight, Tensor offset, Tensor w1, Tensor w2, "
      "Tensor? b1=None, Tensor? b2=None, Tensor? w3=None, str activation='gelu', "
      "bool gate_up=False, bool recompute=False) -> Tensor");
  library.def(
      "expert_mlp_forward(Tensor x, Tensor token, Tensor weight, Tensor offset, Tensor w1, "
      "Tensor w2, Tensor? b1, Tensor? b2, Tensor? w3, str activation, bool gate_up, bool keep) -> "
      "(Tensor, Tensor, Tensor)");
  library.def(
      "expert_mlp_backward(Tensor grad_y, Tensor x, Tensor token, Tensor weight, Tensor offset, "
      "Tensor w1, Tensor w2, Tensor? b1, Tensor? b2, Tensor? w3, Tensor pre, Tensor factor, "
      "str activation, bool gate_up, bool of_weights) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  library.def("assignments(Tensor expert, int experts) -> (Tensor, Tensor, Tensor)");
}

namespace {

void add_kernels(torch::Library& library) {
  library.impl("expert_mlp", inference);
  library.impl("expert_mlp_forward", python::forward);
  library.impl("expert_mlp_backward", python::backward);
  library.impl("assignments", assignments);
}

}  // namespace

TORCH_LIBRARY_IMPL(evomoe, CPU, library) { add_kernels(library); }
TORCH_LIBRARY_IMPL(evomoe, CUDA, library) { add_kernels(library); }
TORCH_LIBRARY_IMPL(evomoe, Autograd, library) { library.impl("expert_mlp", with_autograd); }

}  // namespace evomoe::python
