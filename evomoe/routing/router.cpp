#include "evomoe/routing/router.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/base/expert_weights.h"
#include "evomoe/ops/noise.h"
#include "evomoe/routing/router_stats.h"
#include "evomoe/routing/z_loss.h"

namespace evomoe {
namespace {

torch::Tensor checked_mask(const torch::Tensor& mask_T, int64_t num_rows, const char* name,
                           const std::string& method) {
  if (!mask_T.defined()) return {};
  EVOMOE_CHECK(
      mask_T.scalar_type() == torch::kBool && mask_T.dim() == 1 && mask_T.size(0) == num_rows,
      "{} of router `{}` must be bool [{}], not {} {}", name, method, num_rows,
      c10::toString(mask_T.scalar_type()), c10::str(mask_T.sizes()));
  return mask_T;
}

void validate(const RouterShape& shape) {
  if (shape.num_experts < 1) {
    fail_usage("--moe-expert-count {}: a router needs at least 1 expert", shape.num_experts);
  }
  if (shape.model_dim < 1) {
    fail_usage("the model dimension of router `{}` is {}; it must be at least 1", shape.method,
               shape.model_dim);
  }
  if (!(shape.z_loss_weight >= 0) || std::isinf(shape.z_loss_weight)) {
    fail_usage("--moe-z-loss-wt {}: allowed is a finite number >= 0", shape.z_loss_weight);
  }
}

}  // namespace

Router::Router(RouterShape shape) : shape_(std::move(shape)) {
  validate(shape_);
  auto gate = register_module(
      "wg", torch::nn::Linear(
                torch::nn::LinearOptions(shape_.model_dim, shape_.num_experts).bias(false)));
  gate_weight_ = gate->weight;
  members_["wg.weight"] = &gate_weight_;
}

void Router::add_parameter(torch::Tensor& member, const std::string& name,
                           const torch::Tensor& value) {
  member = register_parameter(name, value);
  members_[name] = &member;
}

void Router::add_buffer(torch::Tensor& member, const std::string& name,
                        const torch::Tensor& value) {
  member = register_buffer(name, value);
  members_[name] = &member;
}

void Router::use_tensor(const std::string& name, const torch::Tensor& tensor) {
  const auto found = members_.find(name);
  if (found == members_.end()) {
    std::vector<std::string> names;
    for (const auto& [known, member] : members_) names.push_back(known);
    fail("router `{}` has no parameter or buffer `{}` that can be replaced; it has: {}",
         shape_.method, name, fmt::join(names, ", "));
  }
  EVOMOE_CHECK(tensor.sizes() == found->second->sizes(),
               "`{}` of router `{}` must have the shape {}, not {}", name, shape_.method,
               c10::str(found->second->sizes()), c10::str(tensor.sizes()));
  *found->second = tensor;
}

std::optional<int64_t> Router::capacity(int64_t num_rows, bool training) const {
  return std::nullopt;
}

void Router::initialise(uint64_t seed, int64_t layer) {
  // torch::nn::Linear's distribution.
  fill_uniform(gate_weight_, 1.0 / std::sqrt(static_cast<double>(gate_weight_.size(1))), seed,
               layer, /*part=*/0);
}

void Router::fill_uniform(torch::Tensor& parameter, double bound, uint64_t seed, int64_t layer,
                          uint32_t part) {
  const torch::NoGradGuard no_grad;
  NoiseKey key;
  key.seed = seed;
  key.layer = static_cast<uint32_t>(layer);
  key.site = NoiseSite::kInitialisation;
  key.update = kKeyBesideExpertWeights + 16 * part;  // the experts have keys beside it
  const auto columns = parameter.dim() > 1 ? parameter.size(-1) : 1;
  const auto rows = parameter.numel() / std::max<int64_t>(columns, 1);
  parameter.copy_((uniform_noise(rows, columns, key, parameter.device()) * (2 * bound) - bound)
                      .view_as(parameter));
}

torch::Tensor Router::choice_noise(int64_t choice, int64_t num_rows,
                                   const RoutingContext& context) const {
  if (context.uniform_T.defined()) {
    const auto given =
        context.uniform_T.dim() == 1 ? context.uniform_T : context.uniform_T.select(1, choice);
    EVOMOE_CHECK(given.size(0) == num_rows,
                 "the injected uniform noise has shape {}, but there are {} rows",
                 c10::str(context.uniform_T.sizes()), num_rows);
    return given;
  }
  if (!context.training) return {};
  auto key = context.noise;
  key.site = NoiseSite::kSecondExpertUniform;
  return uniform_noise(num_rows, choice + 1, key, gate_weight_.device()).select(1, choice);
}

torch::Tensor Router::logits(const torch::Tensor& x_TD) const {
  EVOMOE_CHECK(x_TD.dim() == 2 && x_TD.size(1) == shape_.model_dim,
               "router `{}` was made for rows of {} features and got a tensor of shape {}",
               shape_.method, shape_.model_dim, c10::str(x_TD.sizes()));
  const auto type = torch::promote_types(x_TD.scalar_type(), torch::kFloat32);
  return torch::linear(x_TD.to(type), gate_weight_.to(type));
}

torch::Tensor Router::gate_noise(const torch::Tensor& injected_TE, NoiseSite site,
                                 const torch::Tensor& logits_TE,
                                 const RoutingContext& context) const {
  if (injected_TE.defined()) {
    EVOMOE_CHECK(injected_TE.sizes() == logits_TE.sizes(),
                 "the injected noise has shape {}, the logits of router `{}` have {}",
                 c10::str(injected_TE.sizes()), shape_.method, c10::str(logits_TE.sizes()));
    return injected_TE.to(logits_TE.options());
  }
  if (!context.training) return {};
  auto key = context.noise;
  key.site = site;
  return gumbel_noise(logits_TE.size(0), logits_TE.size(1), key, logits_TE.device())
      .to(logits_TE.scalar_type());
}

torch::Tensor Router::valid_rows(const RoutingContext& context, int64_t num_rows) const {
  return checked_mask(context.valid_T, num_rows, "valid_T", shape_.method);
}

torch::Tensor Router::routed_rows(const RoutingContext& context, int64_t num_rows) const {
  if (!context.routed_T.defined()) return valid_rows(context, num_rows);
  return checked_mask(context.routed_T, num_rows, "routed_T", shape_.method);
}

RouterLoss Router::balance(const torch::Tensor& gate_TE, const torch::Tensor& selected_count_E,
                           int64_t num_rows, const RoutingContext& context) const {
  const auto& scope = shape_.balance_scope;
  if (scope == "micro-batch" || context.communicator == nullptr)
    return balance_loss(gate_TE, selected_count_E, num_rows);
  ExpertLoads loads{selected_count_E.clone(), num_rows};
  if (context.stands_in) loads = {torch::zeros_like(selected_count_E), 0};
  if (scope == "update") {
    context.communicator->all_reduce_sum(loads.count_E);
    double rows = static_cast<double>(loads.rows);
    context.communicator->all_reduce_sum(rows);
    loads.rows = static_cast<int64_t>(rows);
  }
  loads = loads_.add(context.noise.first_sequence, loads);
  return balance_loss(gate_TE, num_rows, loads.count_E, std::max<int64_t>(loads.rows, 1));
}

RouterLoss Router::balance_of_valid(const torch::Tensor& probability_TE, const RouterStats& stats,
                                    const torch::Tensor& valid_T, double k,
                                    const RoutingContext& context) const {
  const auto gate_TE = valid_T.defined() ? probability_TE * valid_T.unsqueeze(1) : probability_TE;
  auto loss = balance(gate_TE, stats.load_E, stats.tokens, context);
  loss.value = loss.value / k;
  return loss;
}

void Router::complete(Routing& routing, const torch::Tensor& logits_TE,
                      const torch::Tensor& probability_TE, const torch::Tensor& selected_TE,
                      const torch::Tensor& valid_T) const {
  if (shape_.z_loss_weight > 0) {
    routing.losses.push_back(z_loss(logits_TE, valid_T));
  }
  record_stats(routing, selected_TE, probability_TE, valid_T);
}

}  // namespace evomoe
