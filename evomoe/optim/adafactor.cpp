#include "evomoe/optim/adafactor.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/kernels/cpu/adafactor.h"
#include "evomoe/kernels/cpu/sum_of_squares.h"

namespace evomoe {
namespace {

/// How a tensor falls into parameters of their own: `groups` of `sizes`.
struct Groups {
  int64_t groups = 1;
  std::vector<int64_t> sizes;
  bool is_factored() const { return sizes.size() >= 2; }
};

Groups groups_of(ParameterKind kind, at::IntArrayRef sizes) {
  if (kind != ParameterKind::kExpert || sizes.size() < 2) return {1, sizes.vec()};
  return {sizes[0], sizes.slice(1).vec()};
}

/// The root mean square of each group, [G].
torch::Tensor rms_G(const torch::Tensor& x) {
  const auto flat = x.flatten(1);
  return flat.norm(2, {1}) / std::sqrt(static_cast<double>(flat.size(1)));
}

torch::Tensor wide(const torch::Tensor& of_group_G, const torch::Tensor& like) {
  std::vector<int64_t> sizes(static_cast<size_t>(like.dim()), 1);
  sizes[0] = of_group_G.size(0);
  return of_group_G.view(sizes);
}

/// The same by LibTorch's operations, for other types and devices.
void adafactor_on_tensors(const torch::Tensor& parameter, const torch::Tensor& gradient,
                          const Groups& groups, std::vector<torch::Tensor>& state,
                          const kernels::AdafactorScalars& s, double least_scale) {
  const auto type = state_type(parameter);
  auto sizes = groups.sizes;
  sizes.insert(sizes.begin(), groups.groups);
  const auto g = gradient.to(type).reshape(sizes) * s.gradient_scale;
  auto p = parameter.to(type).reshape(sizes);
  auto lr_G = torch::full({groups.groups}, s.lr, p.options().requires_grad(false));
  if (least_scale > 0) lr_G = lr_G * rms_G(p).clamp_min(least_scale);
  const auto square = g * g + s.eps;
  torch::Tensor update;
  size_t moment = 1;
  if (groups.is_factored()) {
    auto row = state[0].view(square.sizes().slice(0, sizes.size() - 1));
    row.mul_(s.beta2).add_(square.mean(-1), 1.0 - s.beta2);
    auto column_sizes = sizes;
    column_sizes.erase(column_sizes.end() - 2);
    auto column = state[1].view(column_sizes);
    column.mul_(s.beta2).add_(square.mean(-2), 1.0 - s.beta2);
    const auto row_factor = (row / row.mean(-1, /*keepdim=*/true)).rsqrt().unsqueeze(-1);
    update = g * (row_factor * column.unsqueeze(-2).rsqrt());
    moment = 2;
  } else {
    auto v = state[0].view(sizes);
    v.mul_(s.beta2).add_(square, 1.0 - s.beta2);
    update = g * v.rsqrt();
  }
  update = update * wide(lr_G / (rms_G(update) / s.clip_threshold).clamp_min(1.0), update);
  if (state.size() > moment) {
    auto m = state[moment].view(sizes);
    m.mul_(s.beta1).add_(update, 1.0 - s.beta1);
    update = m;
  }
  // s.decay is of the step's rate; a parameter's own scale applies to both.
  const auto decay_G = s.lr == 0 ? torch::zeros_like(lr_G) : lr_G * (s.decay / s.lr);
  parameter.copy_((p - p * wide(decay_G, p) - update).reshape(parameter.sizes()));
}

void adafactor_on_floats(const torch::Tensor& parameter, const torch::Tensor& gradient,
                         const Groups& groups, std::vector<torch::Tensor>& state,
                         const kernels::AdafactorScalars& scalars, double least_scale) {
  const auto floats = gradient.to(torch::kFloat32).contiguous();
  auto* p = parameter.mutable_data_ptr<float>();
  const auto* g = floats.const_data_ptr<float>();
  const auto data = [&](size_t slot) {
    return slot < state.size() ? state[slot].mutable_data_ptr<float>() : nullptr;
  };
  const auto each = c10::multiply_integers(groups.sizes);
  kernels::AdafactorShape shape{.matrices = 1, .rows = 1, .columns = each};
  if (groups.is_factored()) {
    shape.rows = *(groups.sizes.end() - 2);
    shape.columns = groups.sizes.back();
    shape.matrices = each == 0 ? 0 : each / (shape.rows * shape.columns);
  }
  const auto at = [](float* start, int64_t offset) {
    return start == nullptr ? nullptr : start + offset;
  };
  for (int64_t i = 0; i < groups.groups; ++i) {
    auto s = scalars;
    const auto first = i * each;
    if (least_scale > 0 && each > 0) {
      const auto rms =
          std::sqrt(kernels::sum_of_squares(p + first, each) / static_cast<double>(each));
      s.lr *= std::max(least_scale, rms);
      s.decay *= std::max(least_scale, rms);
    }
    if (groups.is_factored()) {
      kernels::adafactor_matrix(p + first, g + first, data(0) + i * shape.matrices * shape.rows,
                                data(1) + i * shape.matrices * shape.columns, at(data(2), first),
                                shape, s);
    } else {
      kernels::adafactor_vector(p + first, g + first, data(0) + first, at(data(1), first), each, s);
    }
  }
}

}  // namespace

void AdafactorOptions::describe(OptionTable& table) {
  const auto only = [](Option& option) -> Option& {
    return option.only_with("optimizer", {kMethod});
  };
  only(table.add("adafactor-eps", &adafactor_eps,
                 "Added to squared gradients, and the least root mean square by which "
                 "scale-parameter multiplies, e.g. '(1e-30, 1e-3)'."))
      .at_least(0)
      .count(2);
  only(table.add("clip-threshold", &clip_threshold,
                 "Largest root mean square of a parameter's update before the learning rate."))
      .above(0);
  only(table.add("decay-rate", &decay_rate, "The second moment of step t is decayed by 1 - t^X."))
      .at_most(0);
  only(table.add("beta1", &beta1,
                 "Decay of a first moment, as large as the model; not given: there is none."))
      .at_least(0)
      .below(1);
  only(table.add("scale-parameter", &scale_parameter,
                 "Multiplies the learning rate of each parameter by its root mean square."));
  only(table.add("relative-step", &relative_step,
                 "The learning rate of step t is min(0.01, 1/sqrt(t)), whatever --lr and its "
                 "scheduler, which must not be given."));
  only(table.add("warmup-init", &warmup_init,
                 "With relative-step: begins with 1e-6 t instead of 0.01."));
}

std::unique_ptr<const UpdateRule> AdafactorOptions::make_rule() const {
  return std::make_unique<Adafactor>(*this);
}

Adafactor::Adafactor(AdafactorOptions options) : options_(std::move(options)) {
  const auto finite = [](const char* flag, double value, double above) {
    if (!(value > above) || !std::isfinite(value))
      fail_usage("{} is {}; it must be a finite number greater than {}", flag, value, above);
  };
  EVOMOE_CHECK(options_.adafactor_eps.size() == 2, "--adafactor-eps has {} values; give two",
               options_.adafactor_eps.size());
  // One that is 0 in float32 would make 0 / 0 where a row's gradient is 0.
  finite("the first value of --adafactor-eps", options_.adafactor_eps[0], 1e-38);
  if (!(options_.adafactor_eps[1] >= 0) || !std::isfinite(options_.adafactor_eps[1])) {
    fail_usage(
        "the second value of --adafactor-eps is {}; it must be a finite number of at least 0",
        options_.adafactor_eps[1]);
  }
  finite("--clip-threshold", options_.clip_threshold, 0);
  if (!(options_.decay_rate <= 0) || !std::isfinite(options_.decay_rate)) {
    fail_usage("--decay-rate is {}; it must be a finite number of at most 0, e.g. -0.8",
               options_.decay_rate);
  }
  if (options_.beta1 && !(*options_.beta1 >= 0 && *options_.beta1 < 1)) {
    fail_usage("--beta1 is {}; it must be at least 0 and less than 1", *options_.beta1);
  }
  if (options_.warmup_init && !options_.relative_step) {
    fail_usage(
        "--warmup-init has no effect without --relative-step; add it, or use "
        "--warmup-updates for a schedule of --lr");
  }
}

std::vector<StateSlot> Adafactor::slots(ParameterKind kind, at::IntArrayRef sizes) const {
  std::vector<StateSlot> slots;
  const auto all = sizes.vec();
  if (groups_of(kind, sizes).is_factored()) {
    auto row = all, column = all;
    row.pop_back();
    column.erase(column.end() - 2);
    slots.push_back({"exp_avg_sq_row", row, /*gradient_power=*/2});
    slots.push_back({"exp_avg_sq_col", column, /*gradient_power=*/2});
  } else {
    slots.push_back({"exp_avg_sq", all, /*gradient_power=*/2});
  }
  if (options_.beta1) slots.push_back({"exp_avg", all, /*gradient_power=*/0});
  return slots;
}

double Adafactor::learning_rate(double scheduled, int64_t step) const {
  if (!options_.relative_step) return scheduled;
  const auto t = static_cast<double>(step);
  return std::min(options_.warmup_init ? 1e-6 * t : 1e-2, 1.0 / std::sqrt(t));
}

void Adafactor::update(const NamedParameter& parameter, const torch::Tensor& gradient,
                       std::vector<torch::Tensor>& state, const UpdateArguments& with) const {
  const kernels::AdafactorScalars scalars = {
      .beta2 = 1.0 - std::pow(static_cast<double>(with.step), options_.decay_rate),
      .eps = options_.adafactor_eps[0],
      .clip_threshold = options_.clip_threshold,
      .lr = with.lr,
      .decay = with.lr * with.weight_decay,
      .gradient_scale = with.gradient_scale,
      .beta1 = options_.beta1.value_or(0)};
  // 0 is no scale: where eps2 is 0, the least scale is the smallest number.
  const double least_scale =
      options_.scale_parameter ? std::max(options_.adafactor_eps[1], 1e-300) : 0;
  const auto groups = groups_of(parameter.kind, parameter.tensor.sizes());
  const bool raw =
      has_raw_floats(parameter.tensor) && std::all_of(state.begin(), state.end(), has_raw_floats);
  (raw ? adafactor_on_floats : adafactor_on_tensors)(parameter.tensor, gradient, groups, state,
                                                     scalars, least_scale);
}

}  // namespace evomoe
