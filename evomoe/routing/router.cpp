#include "evomoe/routing/router.h"

#include <cmath>
#include <utility>

#include "evomoe/base/error.h"
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

void validate_ranges(const RouterOptions& options) {
  const auto& method = options.method;
  if (options.num_experts < 1) {
    fail_usage("--moe-expert-count {}: a router needs at least 1 expert", options.num_experts);
  }
  if (options.model_dim < 1) {
    fail_usage("the model dimension of router `{}` is {}; it must be at least 1", method,
               options.model_dim);
  }
  if (!(options.threshold >= 0 && options.threshold < 1)) {
    fail_usage("--dts-threshold {}: allowed is 0 <= threshold < 1 (reference: 0.001)",
               options.threshold);
  }
  if (std::isnan(options.train_capacity_factor) || std::isinf(options.train_capacity_factor)) {
    fail_usage("--moe-train-capacity-token-fraction {}: give a finite factor, or 0 for dropless",
               options.train_capacity_factor);
  }
  if (std::isnan(options.eval_capacity_fraction) || options.eval_capacity_fraction > 1) {
    fail_usage(
        "--moe-eval-capacity-token-fraction {}: allowed is at most 1 (all tokens), or -1 for "
        "the training formula",
        options.eval_capacity_fraction);
  }
  if (!(options.z_loss_weight >= 0) || std::isinf(options.z_loss_weight)) {
    fail_usage("--moe-z-loss-wt {}: allowed is a finite number >= 0", options.z_loss_weight);
  }
  if (options.drop_policy != "position" && options.drop_policy != "probs") {
    fail_usage(
        "--moe-drop-policy {}: allowed are position (first come, first served) and probs "
        "(largest weights)",
        options.drop_policy);
  }
  const auto& second = options.second_expert_policy;
  if (second != "sampling" && second != "random" && second != "all") {
    fail_usage("--moe-second-expert-policy {}: allowed are sampling, random, all", second);
  }
}

/// Refuses our own flags that are given and that the method does not heed; returns the reference's.
/// Given is what differs from the default.
std::vector<std::string> unheeded(const RouterOptions& options, const RouterFeatures& features) {
  const RouterOptions plain;
  const auto ours = [&](bool given, bool heeded, const std::string& flag) {
    if (given && !heeded) {
      fail_usage(
          "{} does nothing for --moe-router {}: leave it out, or choose a router that heeds it "
          "(docs/routing.md)",
          flag, options.method);
    }
  };
  std::vector<std::string> flags;
  const auto reference = [&](bool given, bool heeded, const std::string& flag) {
    if (given && !heeded) flags.push_back(flag);
  };
  ours(options.k != plain.k, features.top_k, fmt::format("--moe-k {}", options.k));
  ours(!options.normalize_topk, features.top_k, "--moe-no-normalize-topk");
  ours(options.drop_policy != plain.drop_policy, features.eval_capacity,
       "--moe-drop-policy " + options.drop_policy);
  ours(options.threshold != plain.threshold, features.selection,
       fmt::format("--dts-threshold {}", options.threshold));
  ours(options.normalize_dts, features.selection, "--dts-normalize-weights");

  reference(options.train_capacity_factor > 0 &&
                options.train_capacity_factor != plain.train_capacity_factor,
            features.train_capacity,
            fmt::format("--moe-train-capacity-token-fraction {}", options.train_capacity_factor));
  reference(options.eval_capacity_fraction > 0 &&
                options.eval_capacity_fraction != plain.eval_capacity_fraction,
            features.eval_capacity,
            fmt::format("--moe-eval-capacity-token-fraction {}", options.eval_capacity_fraction));
  reference(options.second_expert_policy != plain.second_expert_policy, features.second_expert,
            "--moe-second-expert-policy " + options.second_expert_policy);
  reference(options.normalize_before_dropping, features.second_expert,
            "--moe-normalize-gate-prob-before-dropping");
  reference(options.batch_prioritized, features.second_expert, "--moe-batch-prioritized-routing");
  // Each of these two needs the other, where a method heeds them.
  reference(options.gumbel_softmax, features.gumbel_softmax,
            features.gumbel_gates ? "--use-gumbel-softmax without --use-gumbel-gates"
                                  : "--use-gumbel-softmax");
  reference(options.gumbel_gates, features.gumbel_gates && options.gumbel_softmax,
            features.gumbel_gates ? "--use-gumbel-gates without --use-gumbel-softmax"
                                  : "--use-gumbel-gates");
  return flags;
}

}  // namespace

Router::Router(RouterOptions options, const RouterFeatures& features)
    : options_(std::move(options)) {
  validate_ranges(options_);
  unheeded_flags_ = unheeded(options_, features);
  auto gate = register_module(
      "wg", torch::nn::Linear(
                torch::nn::LinearOptions(options_.model_dim, options_.num_experts).bias(false)));
  gate_weight_ = gate->weight;
}

std::optional<int64_t> Router::capacity(int64_t num_rows, bool training) const {
  return std::nullopt;
}

torch::Tensor Router::logits(const torch::Tensor& x_TD) const {
  EVOMOE_CHECK(x_TD.dim() == 2 && x_TD.size(1) == options_.model_dim,
               "router `{}` was made for rows of {} features and got a tensor of shape {}",
               options_.method, options_.model_dim, c10::str(x_TD.sizes()));
  const auto type = torch::promote_types(x_TD.scalar_type(), torch::kFloat32);
  return torch::linear(x_TD.to(type), gate_weight_.to(type));
}

torch::Tensor Router::gate_noise(const torch::Tensor& injected_TE, NoiseSite site,
                                 const torch::Tensor& logits_TE,
                                 const RoutingContext& context) const {
  if (injected_TE.defined()) {
    EVOMOE_CHECK(injected_TE.sizes() == logits_TE.sizes(),
                 "the injected noise has shape {}, the logits of router `{}` have {}",
                 c10::str(injected_TE.sizes()), options_.method, c10::str(logits_TE.sizes()));
    return injected_TE.to(logits_TE.options());
  }
  if (!context.training) return {};
  auto key = context.noise;
  key.site = site;
  return gumbel_noise(logits_TE.size(0), logits_TE.size(1), key, logits_TE.device())
      .to(logits_TE.scalar_type());
}

torch::Tensor Router::valid_rows(const RoutingContext& context, int64_t num_rows) const {
  return checked_mask(context.valid_T, num_rows, "valid_T", options_.method);
}

torch::Tensor Router::routed_rows(const RoutingContext& context, int64_t num_rows) const {
  if (!context.routed_T.defined()) return valid_rows(context, num_rows);
  return checked_mask(context.routed_T, num_rows, "routed_T", options_.method);
}

void Router::complete(Routing& routing, const torch::Tensor& logits_TE,
                      const torch::Tensor& probability_TE, const torch::Tensor& selected_TE,
                      const torch::Tensor& valid_T) const {
  if (options_.z_loss_weight > 0) {
    routing.losses.push_back(z_loss(logits_TE, valid_T));
  }
  record_stats(routing, selected_TE, probability_TE, valid_T);
}

std::optional<int64_t> Router::evaluation_capacity(int64_t num_rows) const {
  if (options_.eval_capacity_fraction <= 0) return std::nullopt;
  return static_cast<int64_t>(
      std::ceil(options_.eval_capacity_fraction * static_cast<double>(num_rows)));
}

}  // namespace evomoe
