#include "evomoe/optim/muon.h"

#include <algorithm>
#include <cmath>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/kernels/cpu/momentum.h"
#include "evomoe/optim/orthogonalize.h"

namespace evomoe {
namespace {

bool is_orthogonalized(ParameterKind kind, size_t axes) {
  return kind == ParameterKind::kExpert ? axes >= 3 : kind == ParameterKind::kMatrix && axes >= 2;
}

AdamOptions adam_of(const MuonOptions& options) {
  return {.betas = options.adam_betas, .eps = options.adam_eps};
}

/// On the CPU one matrix at a time, so that a step holds the products of one expert and not of all.
void muon_on_floats(const torch::Tensor& parameter, const torch::Tensor& gradient, torch::Tensor& m,
                    const MuonOptions& options, double gradient_scale, double decay, double step) {
  const auto floats = gradient.to(torch::kFloat32).contiguous();
  const auto rows = parameter.size(-2), columns = parameter.size(-1), each = rows * columns;
  auto update = torch::empty({rows, columns}, m.options());
  for (int64_t first = 0; first < parameter.numel(); first += each) {
    kernels::nesterov_momentum(
        m.mutable_data_ptr<float>() + first, floats.const_data_ptr<float>() + first,
        update.mutable_data_ptr<float>(), each, static_cast<float>(options.momentum),
        static_cast<float>(gradient_scale));
    const auto direction = orthogonalize(update, options.steps).contiguous();
    kernels::decayed_step(parameter.mutable_data_ptr<float>() + first,
                          direction.const_data_ptr<float>(), each, static_cast<float>(decay),
                          static_cast<float>(step));
  }
}

void muon_on_tensors(const torch::Tensor& parameter, const torch::Tensor& gradient,
                     torch::Tensor& m, const MuonOptions& options, double gradient_scale,
                     double decay, double step) {
  const auto g = gradient.to(m.scalar_type()) * gradient_scale;
  const double rest = 1.0 - options.momentum;
  m.mul_(options.momentum).add_(g, rest);
  const auto update = orthogonalize(m * options.momentum + g * rest, options.steps);
  const auto p = parameter.to(m.scalar_type());
  parameter.copy_(p - p * decay - update * step);
}

}  // namespace

void MuonOptions::describe(OptionTable& table) {
  const auto only = [](Option& option) -> Option& {
    return option.only_with("optimizer", {kMethod});
  };
  only(table.add("muon-momentum", &momentum, "Decay of the momentum, which is Nesterov's."))
      .at_least(0)
      .below(1);
  only(table.add("muon-scale", &scale,
                 "What an orthogonal update of a matrix is multiplied by: moonlight: "
                 ".2 sqrt(max(rows, columns)), as large as Adam's (arXiv 2502.16982); original: "
                 "max(1, rows/columns)^.5, which needs a larger --lr (0.02) and a smaller "
                 "--muon-adam-lr-factor."))
      .choices({"moonlight", "original"});
  only(table.add("muon-steps", &steps, "Newton-Schulz steps that make an update orthogonal."))
      .range(1, 100);
  only(table.add("muon-adam-betas", &adam_betas,
                 "Decay of the two moments of Adam, which updates embeddings, heads, norms, biases "
                 "and routers."))
      .at_least(0)
      .below(1)
      .count(2);
  only(table.add("muon-adam-eps", &adam_eps, "Added to the root of Adam's second moment."))
      .above(0);
  only(table.add("muon-adam-lr-factor", &adam_lr_factor,
                 "Adam's learning rate as a multiple of --lr."))
      .at_least(0);
}

std::unique_ptr<const UpdateRule> MuonOptions::make_rule() const {
  return std::make_unique<Muon>(*this);
}

Muon::Muon(MuonOptions options)
    : options_(std::move(options)), adam_(adam_of(options_), "--muon-adam") {
  if (!(options_.momentum >= 0 && options_.momentum < 1)) {
    fail_usage("--muon-momentum is {}; it must be at least 0 and less than 1", options_.momentum);
  }
  if (options_.scale != "moonlight" && options_.scale != "original") {
    fail_usage("--muon-scale '{}' is unknown; it may be moonlight or original", options_.scale);
  }
  if (options_.steps < 1) {
    fail_usage("--muon-steps is {}; it must be at least 1", options_.steps);
  }
  if (!(options_.adam_lr_factor >= 0) || !std::isfinite(options_.adam_lr_factor)) {
    fail_usage("--muon-adam-lr-factor is {}; it must be a finite number of at least 0",
               options_.adam_lr_factor);
  }
}

std::vector<StateSlot> Muon::slots(ParameterKind kind, at::IntArrayRef sizes) const {
  if (!is_orthogonalized(kind, sizes.size())) return adam_.slots(kind, sizes);
  return {{"momentum_buffer", sizes.vec()}};
}

void Muon::update(const NamedParameter& parameter, const torch::Tensor& gradient,
                  std::vector<torch::Tensor>& state, const UpdateArguments& with) const {
  const auto& p = parameter.tensor;
  if (!is_orthogonalized(parameter.kind, static_cast<size_t>(p.dim()))) {
    auto of_adam = with;
    of_adam.lr *= options_.adam_lr_factor;
    adam_.update(parameter, gradient, state, of_adam);
    return;
  }
  const auto rows = static_cast<double>(p.size(-2)), columns = static_cast<double>(p.size(-1));
  const double scale = options_.scale == "original" ? std::sqrt(std::max(1.0, rows / columns))
                                                    : 0.2 * std::sqrt(std::max(rows, columns));
  const bool raw = has_raw_floats(p) && has_raw_floats(state[0]);
  (raw ? muon_on_floats : muon_on_tensors)(p, gradient, state[0], options_, with.gradient_scale,
                                           with.lr * with.weight_decay, with.lr * scale);
}

}  // namespace evomoe
