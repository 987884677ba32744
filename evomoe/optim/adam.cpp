#include "evomoe/optim/adam.h"

#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/kernels/cpu/adam.h"

namespace evomoe {
namespace {

void adam_on_floats(const torch::Tensor& parameter, const torch::Tensor& gradient,
                    std::vector<torch::Tensor>& state, const kernels::AdamScalars& scalars) {
  const auto floats = gradient.to(torch::kFloat32).contiguous();
  kernels::adam(parameter.mutable_data_ptr<float>(), floats.const_data_ptr<float>(),
                state[0].mutable_data_ptr<float>(), state[1].mutable_data_ptr<float>(),
                parameter.numel(), scalars);
}

void adam_on_tensors(const torch::Tensor& parameter, const torch::Tensor& gradient,
                     std::vector<torch::Tensor>& state, const AdamOptions& options,
                     double gradient_scale, double decay, double step_size) {
  auto &exp_avg = state[0], &exp_avg_sq = state[1];
  // Half-precision parameters are updated in fp32, the type of their moments.
  const auto g = gradient.to(exp_avg.scalar_type()) * gradient_scale;
  auto p = parameter.to(exp_avg.scalar_type());
  const auto beta1 = options.betas[0], beta2 = options.betas[1];
  exp_avg.mul_(beta1).add_(g, 1.0 - beta1);
  exp_avg_sq.mul_(beta2).addcmul_(g, g, 1.0 - beta2);
  const auto denominator = exp_avg_sq.sqrt().add_(options.eps);
  if (decay != 0) p.add_(p, -decay);
  p.addcdiv_(exp_avg, denominator, -step_size);
  if (!p.is_same(parameter)) parameter.copy_(p);
}

}  // namespace

void AdamOptions::describe(OptionTable& table) {
  table.add("adam-betas", &betas, "Decay of the two moments, e.g. '(0.9, 0.98)'.")
      .at_least(0)
      .below(1)
      .count(2)
      .only_with("optimizer", {kMethod});
  table.add("adam-eps", &eps, "Added to the root of the second moment.")
      .above(0)
      .only_with("optimizer", {kMethod});
}

std::unique_ptr<const UpdateRule> AdamOptions::make_rule() const {
  return std::make_unique<Adam>(*this);
}

Adam::Adam(AdamOptions options, const char* prefix) : options_(std::move(options)) {
  EVOMOE_CHECK(options_.betas.size() == 2, "{}-betas has {} values; give two", prefix,
               options_.betas.size());
  for (size_t i = 0; i < 2; ++i) {
    const double beta = options_.betas[i];
    if (!(beta >= 0.0 && beta < 1.0)) {
      fail_usage("{}-betas: beta{} is {}; it must be at least 0 and less than 1", prefix, i + 1,
                 beta);
    }
  }
  // Where a gradient is 0, an eps that is 0 in float32 would make 0 / 0.
  if (!(static_cast<float>(options_.eps) > 0.0F) || !std::isfinite(options_.eps)) {
    fail_usage("{}-eps is {}; it must be a finite number greater than 0 in float32, e.g. 1e-8",
               prefix, options_.eps);
  }
}

std::vector<StateSlot> Adam::slots(ParameterKind, at::IntArrayRef sizes) const {
  return {{"exp_avg", sizes.vec()}, {"exp_avg_sq", sizes.vec(), /*gradient_power=*/2}};
}

void Adam::update(const NamedParameter& parameter, const torch::Tensor& gradient,
                  std::vector<torch::Tensor>& state, const UpdateArguments& with) const {
  const auto t = static_cast<double>(with.step);
  const auto beta1 = options_.betas[0], beta2 = options_.betas[1];
  const double decay = with.lr * with.weight_decay;
  const double step_size =
      with.lr * std::sqrt(1.0 - std::pow(beta2, t)) / (1.0 - std::pow(beta1, t));
  if (has_raw_floats(parameter.tensor) && has_raw_floats(state[0])) {
    const auto f = [](double value) { return static_cast<float>(value); };
    adam_on_floats(parameter.tensor, gradient, state,
                   {.beta1 = f(beta1),
                    .one_minus_beta1 = f(1.0 - beta1),
                    .beta2 = f(beta2),
                    .one_minus_beta2 = f(1.0 - beta2),
                    .eps = f(options_.eps),
                    .gradient_scale = f(with.gradient_scale),
                    .decay = f(decay),
                    .step_size = f(step_size)});
  } else {
    adam_on_tensors(parameter.tensor, gradient, state, options_, with.gradient_scale, decay,
                    step_size);
  }
}

}  // namespace evomoe
