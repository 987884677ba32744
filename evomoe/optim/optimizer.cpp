#include "evomoe/optim/optimizer.h"

#include <fmt/ranges.h>

#include <cmath>
#include <set>

#include "evomoe/base/byte_size.h"
#include "evomoe/base/error.h"
#include "evomoe/base/log.h"
#include "evomoe/optim/disk_tensor.h"

namespace evomoe {
namespace {

/// Smaller tensors are not worth a file.
constexpr int64_t kSmallestOnDisk = int64_t{1} << 20;

int64_t bytes_of(const StateSlot& slot, torch::ScalarType type) {
  return c10::multiply_integers(slot.sizes) * static_cast<int64_t>(c10::elementSize(type));
}

void check_fits(const std::string& name, const StateSlot& slot, const torch::Tensor& tensor) {
  EVOMOE_CHECK(
      tensor.defined() && tensor.sizes() == slot.sizes,
      "optimizer: what replaces the {} of '{}' has shape [{}], and its new parameter needs "
      "[{}]; the transform must give that shape",
      slot.name, name,
      tensor.defined() ? fmt::to_string(fmt::join(tensor.sizes(), ", ")) : "undefined",
      fmt::join(slot.sizes, ", "));
}

}  // namespace

std::vector<StateSlot> Optimizer::slots(size_t index) const {
  return rule_->slots(parameters_[index].kind, parameters_[index].tensor.sizes());
}

bool Optimizer::offloads(const torch::Tensor& parameter, const StateSlot& slot) const {
  return !settings_.offload.empty() && parameter.is_cpu() &&
         bytes_of(slot, state_type(parameter)) >= kSmallestOnDisk;
}

torch::Tensor Optimizer::new_tensor(const torch::Tensor& parameter, const StateSlot& slot) const {
  const auto type = state_type(parameter);
  if (offloads(parameter, slot)) return zeros_on_disk(settings_.offload, slot.sizes, type);
  return torch::zeros(slot.sizes, parameter.options().dtype(type).requires_grad(false));
}

void Optimizer::leave_memory(size_t index) const {
  if (settings_.offload.empty()) return;
  const auto& tensors = states_[index].tensors;
  const auto all = slots(index);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (offloads(parameters_[index].tensor, all[i])) evomoe::leave_memory(tensors[i]);
  }
}

void Optimizer::check_room() const {
  const auto& folder = settings_.offload;
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  if (error || !std::filesystem::is_directory(folder)) {
    fail_usage("--offload-moments {}: it is no folder; name one on a disk with room",
               folder.string());
  }
  int64_t on_disk = 0, in_memory = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& tensor = parameters_[i].tensor;
    for (const auto& slot : slots(i)) {
      (offloads(tensor, slot) ? on_disk : in_memory) += bytes_of(slot, state_type(tensor));
    }
  }
  if (static_cast<uint64_t>(on_disk) > space.available) {
    fail_usage(
        "--offload-moments {}: the moments take {}, and its disk has room for {}; name a "
        "folder on another one",
        folder.string(), byte_size_text(on_disk),
        byte_size_text(static_cast<int64_t>(space.available)));
  }
  if (on_disk == 0) {
    log().info(
        "--offload-moments {} has no effect: no tensor of the state of --optimizer {} has {} or "
        "more, and all of them together take {} of memory",
        folder.string(), rule_->name(), byte_size_text(kSmallestOnDisk), byte_size_text(in_memory));
  }
}

Optimizer::Optimizer(std::vector<NamedParameter> parameters, std::unique_ptr<const UpdateRule> rule,
                     OptimizerSettings settings)
    : parameters_(std::move(parameters)),
      states_(parameters_.size()),
      rule_(std::move(rule)),
      settings_(std::move(settings)) {
  if (!(settings_.weight_decay >= 0.0) || !std::isfinite(settings_.weight_decay)) {
    fail_usage("--weight-decay is {}; it must be a finite number of at least 0",
               settings_.weight_decay);
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& name = parameters_[i].name;
    const auto& tensor = parameters_[i].tensor;
    EVOMOE_CHECK(tensor.defined(), "optimizer: parameter '{}' is undefined", name);
    EVOMOE_CHECK(tensor.is_floating_point(),
                 "optimizer: parameter '{}' has type {}, which has no gradient", name,
                 c10::toString(tensor.scalar_type()));
    EVOMOE_CHECK(index_.emplace(name, i).second,
                 "optimizer: two parameters are called '{}'; names must be unique", name);
  }
  if (!settings_.offload.empty()) check_room();
}

void Optimizer::step(double lr, double gradient_scale) {
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& parameter = parameters_[i];
    const auto& gradient = parameter.tensor.grad();
    if (!gradient.defined()) continue;
    EVOMOE_CHECK(!gradient.is_sparse(),
                 "optimizer: the gradient of '{}' is sparse, which is not supported",
                 parameter.name);
    auto& state = states_[i];
    if (state.tensors.empty()) {
      for (const auto& slot : slots(i)) state.tensors.push_back(new_tensor(parameter.tensor, slot));
    }
    ++state.step;
    rule_->update(
        parameter, gradient, state.tensors,
        {.lr = rule_->learning_rate(lr, state.step) * settings_.lr_factors.of(parameter.kind),
         .weight_decay = settings_.weight_decay,
         .gradient_scale = gradient_scale,
         .step = state.step});
    leave_memory(i);
  }
}

void Optimizer::zero_grad() {
  for (auto& parameter : parameters_) parameter.tensor.mutable_grad() = torch::Tensor();
}

std::vector<bool> Optimizer::updated() const {
  std::vector<bool> updated;
  for (const auto& state : states_) updated.push_back(state.step > 0);
  return updated;
}

std::map<std::string, torch::Tensor> Optimizer::state_dict() const {
  std::map<std::string, torch::Tensor> result;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& name = parameters_[i].name;
    const auto& state = states_[i];
    result[name + ".step"] = torch::tensor(state.step, torch::kInt64);
    if (state.tensors.empty()) continue;
    const auto all = slots(i);
    for (size_t j = 0; j < all.size(); ++j) result[name + "." + all[j].name] = state.tensors[j];
  }
  return result;
}

void Optimizer::load_state_dict(const std::map<std::string, torch::Tensor>& state) {
  torch::NoGradGuard no_grad;
  std::vector<std::string> problems;
  std::set<std::string> used;
  std::vector<State> loaded(parameters_.size());

  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& name = parameters_[i].name;
    const auto& parameter = parameters_[i].tensor;
    const auto step = state.find(name + ".step");
    if (step == state.end()) {
      problems.push_back(fmt::format("'{}.step' is missing", name));
      continue;
    }
    used.insert(step->first);
    if (step->second.numel() != 1 || step->second.scalar_type() != torch::kInt64 ||
        step->second.item<int64_t>() < 0) {
      problems.push_back(fmt::format("'{}.step' is not one int64 number of at least 0", name));
      continue;
    }
    loaded[i].step = step->second.item<int64_t>();
    if (loaded[i].step == 0) continue;
    for (const auto& slot : slots(i)) {
      const auto found = state.find(name + "." + slot.name);
      if (found == state.end()) {
        problems.push_back(fmt::format("'{}.{}' is missing", name, slot.name));
        continue;
      }
      used.insert(found->first);
      if (found->second.sizes() != slot.sizes) {
        problems.push_back(fmt::format("'{}.{}' has shape [{}], the parameter [{}] needs [{}]",
                                       name, slot.name, fmt::join(found->second.sizes(), ", "),
                                       fmt::join(parameter.sizes(), ", "),
                                       fmt::join(slot.sizes, ", ")));
        continue;
      }
      loaded[i].tensors.push_back(new_tensor(parameter, slot));
      loaded[i].tensors.back().copy_(found->second);
      if (offloads(parameter, slot)) evomoe::leave_memory(loaded[i].tensors.back());
    }
  }
  for (const auto& [key, tensor] : state) {
    if (!used.contains(key)) problems.push_back(fmt::format("'{}' belongs to no parameter", key));
  }
  if (!problems.empty()) {
    const size_t count = problems.size();
    if (count > 10) problems.resize(10);
    fail(
        "the optimizer state does not fit the model and --optimizer {} ({} problem(s)): {}{}; load "
        "a checkpoint of the same model and optimizer or use --reset-optimizer",
        rule_->name(), count, fmt::join(problems, "; "), count > 10 ? "; ..." : "");
  }
  states_ = std::move(loaded);
}

void Optimizer::replace(const std::string& name, torch::Tensor new_parameter,
                        const MomentTransform& transform) {
  torch::NoGradGuard no_grad;
  const auto found = index_.find(name);
  EVOMOE_CHECK(found != index_.end(), "optimizer: there is no parameter '{}' to replace", name);
  EVOMOE_CHECK(
      new_parameter.defined() && new_parameter.is_floating_point(),
      "optimizer: the tensor that replaces '{}' is undefined or not of a floating-point type",
      name);
  auto& parameter = parameters_[found->second];
  auto& old = states_[found->second];
  State state;
  state.step = old.step;
  if (!old.tensors.empty()) {
    const auto before = slots(found->second);
    const auto after = rule_->slots(parameter.kind, new_parameter.sizes());
    for (size_t i = 0; i < after.size(); ++i) {
      const auto made = transform(old.tensors.at(i), before.at(i).gradient_power);
      check_fits(name, after[i], made);
      // A copy, so that a transform that returns a view (expand, the old tensor itself) is safe.
      state.tensors.push_back(new_tensor(new_parameter, after[i]).copy_(made));
    }
  }
  parameter.tensor = std::move(new_parameter);
  old = std::move(state);
}

int64_t Optimizer::resident_bytes() const {
  int64_t bytes = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    bytes += sizeof(int64_t);
    const auto all = slots(i);
    for (size_t j = 0; j < states_[i].tensors.size(); ++j) {
      if (offloads(parameters_[i].tensor, all[j])) continue;
      bytes += static_cast<int64_t>(states_[i].tensors[j].nbytes());
    }
  }
  return bytes;
}

int64_t state_bytes(const UpdateRule& rule, ParameterKind kind, at::IntArrayRef sizes,
                    bool offload) {
  int64_t bytes = 0;
  for (const auto& slot : rule.slots(kind, sizes)) {
    const auto of_slot = bytes_of(slot, torch::kFloat32);
    if (!offload || of_slot < kSmallestOnDisk) bytes += of_slot;
  }
  return bytes;
}

}  // namespace evomoe
