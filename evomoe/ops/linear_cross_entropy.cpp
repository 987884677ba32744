#include "evomoe/ops/linear_cross_entropy.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/kernels/cpu/softmax_cross_entropy.h"
#include "evomoe/kernels/cuda/softmax_cross_entropy.h"
#include "evomoe/ops/cuda_kernels.h"

namespace evomoe {
namespace {

/// Elements of the logits held at a time: small beside T x V, large enough for the matmul's speed.
constexpr int64_t kChunkElements = int64_t{1} << 23;
constexpr int64_t kLeastChunkRows = 512;

void check(const torch::Tensor& x_TD, const torch::Tensor& weight_VD, const torch::Tensor& target_T,
           const torch::Tensor& bias_V) {
  EVOMOE_CHECK(x_TD.dim() == 2 && weight_VD.dim() == 2 && x_TD.size(1) == weight_VD.size(1),
               "linear cross-entropy needs x [T,D] and weight [V,D], not {} and {}",
               c10::str(x_TD.sizes()), c10::str(weight_VD.sizes()));
  EVOMOE_CHECK(x_TD.is_floating_point() && x_TD.scalar_type() == weight_VD.scalar_type() &&
                   x_TD.device() == weight_VD.device(),
               "linear cross-entropy needs x and weight of one floating type and device, not {} on "
               "{} and {} on {}",
               c10::toString(x_TD.scalar_type()), c10::str(x_TD.device()),
               c10::toString(weight_VD.scalar_type()), c10::str(weight_VD.device()));
  EVOMOE_CHECK(target_T.dim() == 1 && target_T.scalar_type() == torch::kInt64 &&
                   target_T.size(0) == x_TD.size(0) && target_T.device() == x_TD.device(),
               "linear cross-entropy of {} rows on {} needs targets int64 [T] there, not {} {} on "
               "{}",
               x_TD.size(0), c10::str(x_TD.device()), c10::toString(target_T.scalar_type()),
               c10::str(target_T.sizes()), c10::str(target_T.device()));
  if (!bias_V.defined()) return;
  EVOMOE_CHECK(
      bias_V.dim() == 1 && bias_V.size(0) == weight_VD.size(0) &&
          bias_V.scalar_type() == weight_VD.scalar_type() && bias_V.device() == weight_VD.device(),
      "linear cross-entropy with weight {} needs a bias [V] of its type and device, not {} "
      "{} on {}",
      c10::str(weight_VD.sizes()), c10::toString(bias_V.scalar_type()), c10::str(bias_V.sizes()),
      c10::str(bias_V.device()));
}

void check_range(const torch::Tensor& target_N, int64_t vocabulary) {
  // To look at a GPU's numbers would be to wait for them; a wrong target makes its loss NaN there.
  if (target_N.numel() == 0 || !target_N.is_cpu()) return;
  const auto low = target_N.min().item<int64_t>(), high = target_N.max().item<int64_t>();
  EVOMOE_CHECK(low >= 0 && high < vocabulary,
               "target {} is outside the vocabulary of {} symbols; was the data made with another "
               "dictionary?",
               low < 0 ? low : high, vocabulary);
}

/// Puts -log p(target) of the rows of `logits` [n,V] into loss [n] (double on the CPU in float32).
/// With `make_gradient`, `logits` becomes the gradient of the sum of these losses.
void row_losses(torch::Tensor& logits_NV, const torch::Tensor& target_N, torch::Tensor loss_N,
                bool make_gradient) {
  if (logits_NV.is_cpu() && logits_NV.scalar_type() == torch::kFloat32) {
    kernels::softmax_cross_entropy(logits_NV.data_ptr<float>(), target_N.const_data_ptr<int64_t>(),
                                   loss_N.data_ptr<double>(), logits_NV.size(0), logits_NV.size(1),
                                   make_gradient);
    return;
  }
  if constexpr (kHasCudaKernels) {
    if (cuda_kernels_take(logits_NV)) {
      const DeviceStream stream(logits_NV);
      with_element(logits_NV, [&](auto element) {
        using T = decltype(element);
        kernels::cuda::softmax_cross_entropy(
            kernel_data<T>(logits_NV), kernel_data<int64_t>(target_N), kernel_data<double>(loss_N),
            logits_NV.size(0), logits_NV.size(1), make_gradient, stream.get());
      });
      return;
    }
  }
  const auto precise =
      logits_NV.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  auto log_p = torch::log_softmax(logits_NV, /*dim=*/1, precise);
  const auto target_N1 = target_N.unsqueeze(1);
  loss_N.copy_(-log_p.gather(1, target_N1).squeeze(1));
  if (!make_gradient) return;
  auto gradient = log_p.exp_();
  gradient.scatter_add_(1, target_N1, torch::full_like(target_N1, -1.0, gradient.options()));
  logits_NV.copy_(gradient);
}

/// Where the gradients of the sum of losses go; undefined ones are not wanted.
struct LossGradients {
  torch::Tensor x_ND, weight_VD, bias_V;
  bool any() const { return x_ND.defined() || weight_VD.defined() || bias_V.defined(); }
};

struct RowLosses {
  torch::Tensor nll_N;       ///< float64
  torch::Tensor smoothed_N;  ///< float64; nll_N where nothing is smoothed
  torch::Tensor correct;     ///< int64 scalar; undefined when not counted
};

/// Smooths what row_losses made of `logits`: the losses, of which the sum over all tokens needs the
/// logits' sum and the target's logit from before, and the gradient.
void smooth(torch::Tensor& logits_NV, const torch::Tensor& target_N1, const torch::Tensor& sum_N,
            const torch::Tensor& chosen_N, const torch::Tensor& nll_N, torch::Tensor smoothed_N,
            double epsilon, bool make_gradient) {
  const auto V = static_cast<double>(logits_NV.size(1));
  const double each = epsilon / (V - 1);
  // -sum over v of log p_v = V * logsumexp - sum of logits.
  const auto all_N = (nll_N + chosen_N) * V - sum_N;
  smoothed_N.copy_(nll_N * (1 - epsilon - each) + all_N * each);
  if (!make_gradient) return;
  logits_NV.sub_(each);
  logits_NV.scatter_add_(1, target_N1,
                         torch::full_like(target_N1, epsilon + each, logits_NV.options()));
}

/// The losses of all rows, and the gradients of their sum.
RowLosses chunked_losses(const torch::Tensor& x_ND, const torch::Tensor& weight_VD,
                         const torch::Tensor& target_N, const LinearCrossEntropyOptions& options,
                         LossGradients gradients) {
  const auto rows = x_ND.size(0), vocabulary = weight_VD.size(0);
  RowLosses losses;
  losses.nll_N = torch::empty({rows}, x_ND.options().dtype(torch::kFloat64));
  const bool smoothed = options.label_smoothing != 0;
  losses.smoothed_N = smoothed ? torch::empty_like(losses.nll_N) : losses.nll_N;
  if (options.count_correct) losses.correct = torch::zeros({}, target_N.options());
  if (rows == 0) return losses;
  const auto step = logit_rows(rows, vocabulary);
  const auto buffer = torch::empty({step, vocabulary}, x_ND.options());
  const auto weight_DV = weight_VD.t();
  for (int64_t begin = 0; begin < rows; begin += step) {
    const auto end = std::min(rows, begin + step);
    const auto x = x_ND.slice(0, begin, end);
    const auto target = target_N.slice(0, begin, end), target_1 = target.unsqueeze(1);
    auto logits = buffer.slice(0, 0, end - begin);
    torch::mm_out(logits, x, weight_DV);
    if (options.bias_V.defined()) logits.add_(options.bias_V);
    if (options.count_correct) losses.correct += logits.argmax(1).eq(target).sum();
    torch::Tensor sum, chosen;
    if (smoothed) {
      sum = logits.sum(1, /*keepdim=*/false, torch::kFloat64);
      chosen = logits.gather(1, target_1).squeeze(1).to(torch::kFloat64);
    }
    const auto nll = losses.nll_N.slice(0, begin, end);
    row_losses(logits, target, nll, gradients.any());
    if (smoothed) {
      smooth(logits, target_1, sum, chosen, nll, losses.smoothed_N.slice(0, begin, end),
             options.label_smoothing, gradients.any());
    }
    if (gradients.x_ND.defined()) {
      auto grad_x = gradients.x_ND.slice(0, begin, end);
      torch::mm_out(grad_x, logits, weight_VD);
    }
    if (gradients.weight_VD.defined())
      gradients.weight_VD.addmm_(logits.t(), x, /*beta=*/begin > 0 ? 1 : 0);
    if (gradients.bias_V.defined()) gradients.bias_V.add_(logits.sum(0));
  }
  return losses;
}

class RowsFunction : public torch::autograd::Function<RowsFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x_TD,
                               const torch::Tensor& weight_VD,
                               const std::optional<torch::Tensor>& bias_V,
                               const torch::Tensor& target_T,
                               const LinearCrossEntropyOptions& options, bool with_gradients,
                               LinearCrossEntropy* found) {
    const auto kept_N = (target_T != options.ignore_index).nonzero().squeeze(1);
    const bool all = kept_N.size(0) == target_T.size(0);
    const auto target_N = all ? target_T.contiguous() : target_T.index_select(0, kept_N);
    const auto x_ND = all ? x_TD.contiguous() : x_TD.index_select(0, kept_N);
    check_range(target_N, weight_VD.size(0));
    LossGradients gradients;
    if (with_gradients && x_TD.requires_grad()) gradients.x_ND = torch::empty_like(x_ND);
    if (with_gradients && weight_VD.requires_grad()) {
      gradients.weight_VD =
          target_N.size(0) == 0 ? torch::zeros_like(weight_VD) : torch::empty_like(weight_VD);
    }
    if (with_gradients && bias_V && bias_V->requires_grad())
      gradients.bias_V = torch::zeros_like(*bias_V);
    const auto losses = chunked_losses(x_ND, weight_VD.contiguous(), target_N, options, gradients);
    torch::Tensor grad_x_TD = gradients.x_ND;
    if (grad_x_TD.defined() && !all) {
      grad_x_TD = torch::zeros_like(x_TD, torch::MemoryFormat::Contiguous);
      grad_x_TD.index_copy_(0, kept_N, gradients.x_ND);
    }
    context->save_for_backward({grad_x_TD, gradients.weight_VD, gradients.bias_V});
    const auto loss = losses.smoothed_N.sum();
    if (options.label_smoothing != 0) found->nll = losses.nll_N.sum().item<double>();
    if (losses.correct.defined()) found->correct = losses.correct.item<int64_t>();
    return loss;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    EVOMOE_CHECK(!torch::GradMode::is_enabled(),
                 "linear_cross_entropy cannot be differentiated twice; call backward without "
                 "create_graph");
    const auto saved = context->get_saved_variables();
    // Mostly 1, and the product of a gradient [V,D] with it costs as much as a pass of Adam. On a
    // GPU to look at the number would be to wait for it.
    const bool one = gradients[0].is_cpu() && gradients[0].item<double>() == 1.0;
    const auto scaled = [&](const torch::Tensor& gradient) {
      if (!gradient.defined() || one) return gradient;
      return gradient * gradients[0].to(gradient.scalar_type());
    };
    return {scaled(saved[0]), scaled(saved[1]), scaled(saved[2]), {}, {}, {}, {}};
  }
};

}  // namespace

int64_t logit_rows(int64_t rows, int64_t vocabulary) {
  return std::max<int64_t>(1,
                           std::min(rows, std::max(kLeastChunkRows, kChunkElements / vocabulary)));
}

LinearCrossEntropy linear_cross_entropy(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                                        const torch::Tensor& target_T,
                                        const LinearCrossEntropyOptions& options) {
  check(x_TD, weight_VD, target_T, options.bias_V);
  LinearCrossEntropy found;
  std::optional<torch::Tensor> bias_V;
  if (options.bias_V.defined()) bias_V = options.bias_V;
  found.loss = RowsFunction::apply(x_TD, weight_VD, bias_V, target_T, options,
                                   torch::GradMode::is_enabled(), &found);
  if (options.label_smoothing == 0) found.nll = found.loss.item<double>();
  return found;
}

torch::Tensor linear_cross_entropy(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                                   const torch::Tensor& target_T, int64_t ignore_index) {
  return linear_cross_entropy(x_TD, weight_VD, target_T,
                              LinearCrossEntropyOptions{.ignore_index = ignore_index})
      .loss;
}

torch::Tensor linear_log_probability(const torch::Tensor& x_TD, const torch::Tensor& weight_VD,
                                     const torch::Tensor& target_T, const torch::Tensor& bias_V) {
  check(x_TD, weight_VD, target_T, bias_V);
  check_range(target_T, weight_VD.size(0));
  const torch::NoGradGuard no_grad;
  const auto losses = chunked_losses(x_TD.contiguous(), weight_VD.contiguous(),
                                     target_T.contiguous(), {.bias_V = bias_V}, {});
  return losses.nll_N.neg().to(x_TD.scalar_type() == torch::kFloat64 ? torch::kFloat64
                                                                     : torch::kFloat32);
}

}  // namespace evomoe
