#include "evomoe/optim/adam.h"

#include <fmt/ranges.h>

#include <cmath>

#include "evomoe/kernels/parallel_for.h"

#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/optim/disk_tensor.h"

namespace evomoe {
namespace {

/// The numbers of one update that are equal for all elements of a parameter.
struct AdamScalars {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  float gradient_scale;
  float decay;      // lr * weight_decay
  float step_size;  // lr * sqrt(1 - beta2^t) / (1 - beta1^t)
};

/// A square root that never sets errno: std::sqrt may, which keeps compilers from vectorising the
/// loop below.
inline __attribute__((always_inline)) float square_root(float x) {
#if defined(__SSE__)
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
#else
  return std::sqrt(x);
#endif
}

/// One pass over memory: gradient scaling, both moments, weight decay and the step.
void update_range(float* __restrict p, const float* __restrict g, float* __restrict m,
                  float* __restrict v, int64_t size, const AdamScalars s) {
  for (int64_t i = 0; i < size; ++i) {
    const float gradient = g[i] * s.gradient_scale;
    const float first = m[i] * s.beta1 + gradient * s.one_minus_beta1;
    const float second = v[i] * s.beta2 + gradient * gradient * s.one_minus_beta2;
    m[i] = first;
    v[i] = second;
    const float decayed = p[i] - s.decay * p[i];
    p[i] = decayed - s.step_size * (first / (square_root(second) + s.eps));
  }
}

/// Elements that are worth a thread of their own.
constexpr int64_t kGrain = 1 << 14;

bool has_fast_path(const torch::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.scalar_type() == torch::kFloat32 &&
         tensor.is_contiguous();
}

void update_cpu_float(const torch::Tensor& parameter, const torch::Tensor& gradient,
                      const torch::Tensor& exp_avg, const torch::Tensor& exp_avg_sq,
                      const AdamScalars& scalars) {
  auto* p = parameter.mutable_data_ptr<float>();
  const auto* g = gradient.const_data_ptr<float>();
  auto* m = exp_avg.mutable_data_ptr<float>();
  auto* v = exp_avg_sq.mutable_data_ptr<float>();
  kernels::parallel_for(0, parameter.numel(), kGrain, [&](int64_t begin, int64_t end) {
    update_range(p + begin, g + begin, m + begin, v + begin, end - begin, scalars);
  });
}

void update_any(const torch::Tensor& parameter, const torch::Tensor& gradient,
                torch::Tensor& exp_avg, torch::Tensor& exp_avg_sq, const AdamOptions& options,
                double gradient_scale, double decay, double step_size) {
  // Half-precision parameters are updated in fp32, the type of their moments.
  const auto g = gradient.to(exp_avg.scalar_type()) * gradient_scale;
  auto p = parameter.to(exp_avg.scalar_type());
  exp_avg.mul_(options.beta1).add_(g, 1.0 - options.beta1);
  exp_avg_sq.mul_(options.beta2).addcmul_(g, g, 1.0 - options.beta2);
  const auto denominator = exp_avg_sq.sqrt().add_(options.eps);
  if (decay != 0) p.add_(p, -decay);
  p.addcdiv_(exp_avg, denominator, -step_size);
  if (!p.is_same(parameter)) parameter.copy_(p);
}

/// Smaller moments are not worth a file.
constexpr size_t kSmallestOnDisk = size_t{1} << 20;

torch::ScalarType moment_type(const torch::Tensor& parameter) {
  return parameter.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

void check_beta(const char* name, double beta) {
  if (!(beta >= 0.0 && beta < 1.0)) {
    fail_usage("--adam-betas: {} is {}; it must be at least 0 and less than 1", name, beta);
  }
}

void check_moment(const std::string& name, const torch::Tensor& moment,
                  const torch::Tensor& parameter) {
  EVOMOE_CHECK(moment.defined() && moment.sizes() == parameter.sizes(),
               "Adam: the moment that replaces the one of '{}' has shape [{}], its new parameter "
               "[{}]; the transform "
               "must give the shape of the parameter",
               name,
               moment.defined() ? fmt::to_string(fmt::join(moment.sizes(), ", ")) : "undefined",
               fmt::join(parameter.sizes(), ", "));
}

}  // namespace

void AdamOptions::validate() const {
  check_beta("beta1", beta1);
  check_beta("beta2", beta2);
  if (!(eps > 0.0) || !std::isfinite(eps)) {
    fail_usage("--adam-eps is {}; it must be a finite number greater than 0", eps);
  }
  if (!(weight_decay >= 0.0) || !std::isfinite(weight_decay)) {
    fail_usage("--weight-decay is {}; it must be a finite number of at least 0", weight_decay);
  }
}

bool Adam::offloads(const torch::Tensor& parameter) const {
  return !offload_.empty() && parameter.is_cpu() && parameter.nbytes() >= kSmallestOnDisk;
}

torch::Tensor Adam::new_moment(const torch::Tensor& parameter) const {
  const auto type = moment_type(parameter);
  if (offloads(parameter)) return zeros_on_disk(offload_, parameter.sizes(), type);
  return torch::zeros(parameter.sizes(), parameter.options().dtype(type).requires_grad(false));
}

void Adam::check_room() const {
  std::error_code error;
  const auto space = std::filesystem::space(offload_, error);
  if (error || !std::filesystem::is_directory(offload_)) {
    fail_usage("--offload-moments {}: it is no folder; name one on a disk with room",
               offload_.string());
  }
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : parameters_) {
    if (offloads(tensor)) bytes += 2 * tensor.numel() * c10::elementSize(moment_type(tensor));
  }
  if (bytes > space.available) {
    fail_usage(
        "--offload-moments {}: the moments take {}, and its disk has room for {}; name a "
        "folder on another one",
        offload_.string(), byte_size_text(static_cast<int64_t>(bytes)),
        byte_size_text(static_cast<int64_t>(space.available)));
  }
}

Adam::Adam(std::vector<NamedParameter> parameters, AdamOptions options,
           std::filesystem::path offload)
    : parameters_(std::move(parameters)),
      states_(parameters_.size()),
      options_(options),
      offload_(std::move(offload)) {
  options_.validate();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    EVOMOE_CHECK(tensor.defined(), "Adam: parameter '{}' is undefined", name);
    EVOMOE_CHECK(tensor.is_floating_point(),
                 "Adam: parameter '{}' has type {}, which has no gradient", name,
                 c10::toString(tensor.scalar_type()));
    EVOMOE_CHECK(index_.emplace(name, i).second,
                 "Adam: two parameters are called '{}'; names must be unique", name);
  }
  if (!offload_.empty()) check_room();
}

void Adam::step(double lr, double gradient_scale) {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& parameter = parameters_[i].tensor;
    const auto& gradient = parameter.grad();
    if (!gradient.defined()) continue;
    EVOMOE_CHECK(!gradient.is_sparse(),
                 "Adam: the gradient of '{}' is sparse, which is not supported",
                 parameters_[i].name);

    auto& state = states_[i];
    if (!state.exp_avg.defined()) {
      state.exp_avg = new_moment(parameter);
      state.exp_avg_sq = new_moment(parameter);
    }
    const auto t = static_cast<double>(++state.step);
    const double decay = lr * options_.weight_decay;
    const double step_size =
        lr * std::sqrt(1.0 - std::pow(options_.beta2, t)) / (1.0 - std::pow(options_.beta1, t));

    if (has_fast_path(parameter) && has_fast_path(state.exp_avg)) {
      const AdamScalars scalars = {
          static_cast<float>(options_.beta1), static_cast<float>(1.0 - options_.beta1),
          static_cast<float>(options_.beta2), static_cast<float>(1.0 - options_.beta2),
          static_cast<float>(options_.eps),   static_cast<float>(gradient_scale),
          static_cast<float>(decay),          static_cast<float>(step_size)};
      update_cpu_float(parameter, gradient.to(torch::kFloat32).contiguous(), state.exp_avg,
                       state.exp_avg_sq, scalars);
    } else {
      update_any(parameter, gradient, state.exp_avg, state.exp_avg_sq, options_, gradient_scale,
                 decay, step_size);
    }
    if (offloads(parameter)) {
      leave_memory(state.exp_avg);
      leave_memory(state.exp_avg_sq);
    }
  }
}

void Adam::zero_grad() {
  for (auto& parameter : parameters_) parameter.tensor.mutable_grad() = torch::Tensor();
}

std::map<std::string, torch::Tensor> Adam::state_dict() const {
  std::map<std::string, torch::Tensor> result;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& name = parameters_[i].name;
    result[name + ".step"] = torch::tensor(states_[i].step, torch::kInt64);
    if (states_[i].exp_avg.defined()) {
      result[name + ".exp_avg"] = states_[i].exp_avg;
      result[name + ".exp_avg_sq"] = states_[i].exp_avg_sq;
    }
  }
  return result;
}

void Adam::load_state_dict(const std::map<std::string, torch::Tensor>& state) {
  torch::NoGradGuard no_grad;
  std::vector<std::string> problems;
  size_t used = 0;
  std::vector<State> loaded(parameters_.size());

  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, parameter] = parameters_[i];
    const auto step = state.find(name + ".step");
    if (step == state.end()) {
      problems.push_back(fmt::format("'{}.step' is missing", name));
      continue;
    }
    ++used;
    if (step->second.numel() != 1 || step->second.scalar_type() != torch::kInt64 ||
        step->second.item<int64_t>() < 0) {
      problems.push_back(fmt::format("'{}.step' is not one int64 number of at least 0", name));
      continue;
    }
    loaded[i].step = step->second.item<int64_t>();
    if (loaded[i].step == 0) continue;
    const auto take = [&, &name = name, &parameter = parameter](const char* suffix,
                                                                torch::Tensor& moment) {
      const auto found = state.find(name + suffix);
      if (found == state.end()) {
        problems.push_back(fmt::format("'{}{}' is missing", name, suffix));
        return;
      }
      ++used;
      if (found->second.sizes() != parameter.sizes()) {
        problems.push_back(fmt::format("'{}{}' has shape [{}], the parameter [{}]", name, suffix,
                                       fmt::join(found->second.sizes(), ", "),
                                       fmt::join(parameter.sizes(), ", ")));
        return;
      }
      moment = new_moment(parameter);
      moment.copy_(found->second);
      if (offloads(parameter)) leave_memory(moment);
    };
    take(".exp_avg", loaded[i].exp_avg);
    take(".exp_avg_sq", loaded[i].exp_avg_sq);
  }

  if (used < state.size() && problems.empty()) {
    for (const auto& [key, tensor] : state) {
      const auto dot = key.rfind('.');
      const auto suffix = dot == std::string::npos ? "" : key.substr(dot);
      const auto found = index_.find(key.substr(0, dot));
      const bool known = found != index_.end() &&
                         (suffix == ".step" || ((suffix == ".exp_avg" || suffix == ".exp_avg_sq") &&
                                                loaded[found->second].step > 0));
      if (!known) problems.push_back(fmt::format("'{}' belongs to no parameter", key));
    }
  }
  if (!problems.empty()) {
    const size_t count = problems.size();
    if (count > 10) problems.resize(10);
    fail(
        "the optimizer state does not fit the model ({} problem(s)): {}{}; load a checkpoint of "
        "the same model or use "
        "--reset-optimizer",
        count, fmt::join(problems, "; "), count > 10 ? "; ..." : "");
  }
  states_ = std::move(loaded);
}

void Adam::replace(const std::string& name, torch::Tensor new_tensor,
                   const MomentTransform& transform) {
  torch::NoGradGuard no_grad;
  const auto found = index_.find(name);
  EVOMOE_CHECK(found != index_.end(), "Adam: there is no parameter '{}' to replace", name);
  EVOMOE_CHECK(new_tensor.defined() && new_tensor.is_floating_point(),
               "Adam: the tensor that replaces '{}' is undefined or not of a floating-point type",
               name);
  auto& old = states_[found->second];
  State state;
  state.step = old.step;
  if (old.exp_avg.defined()) {
    const auto first = transform(old.exp_avg, /*second=*/false);
    check_moment(name, first, new_tensor);
    const auto second = transform(old.exp_avg_sq, /*second=*/true);
    check_moment(name, second, new_tensor);
    // Copies, so that a transform that returns a view (expand, the old moment itself) is safe.
    state.exp_avg = new_moment(new_tensor).copy_(first);
    state.exp_avg_sq = new_moment(new_tensor).copy_(second);
  }
  parameters_[found->second].tensor = std::move(new_tensor);
  old = std::move(state);
}

}  // namespace evomoe
