// GShard, arXiv 2006.16668: two experts per token, as in the authors' top-2 gate.
#include "evomoe/routing/gshard_router.h"

#include <limits>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/ops/noise.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/epsilon.h"
#include "evomoe/routing/reference_metrics.h"
#include "evomoe/routing/router_stats.h"

namespace evomoe {
namespace {

/// Percentages of first and second choices that find no place. Second choices queue behind all
/// first ones, so counts are enough. 0 when nobody chose, where the reference has NaN.
void append_overflow(ReferenceMetrics& metrics, const torch::Tensor& first_E,
                     const torch::Tensor& second_E, std::optional<int64_t> capacity) {
  auto over_first_E = torch::zeros_like(first_E);
  auto over_second_E = torch::zeros_like(second_E);
  if (capacity) {
    over_first_E = (first_E - *capacity).clamp_min(0);
    over_second_E = torch::minimum((first_E + second_E - *capacity).clamp_min(0), second_E);
  }
  metrics.emplace_back("overflow_expert1",
                       100.0 * over_first_E.sum().to(torch::kFloat32) / first_E.sum().clamp_min(1));
  metrics.emplace_back("overflow_expert2", 100.0 * over_second_E.sum().to(torch::kFloat32) /
                                               second_E.sum().clamp_min(1));
}

/// 0 for the token that is most sure of its first expert, 1 for the next ...
torch::Tensor importance_rank_T(const torch::Tensor& probability_T) {
  const auto order_T =
      std::get<1>(probability_T.detach().sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
  return torch::empty_like(order_T).scatter_(0, order_T,
                                             torch::arange(order_T.size(0), order_T.options()));
}

/// bool [T], who keeps the second expert under policy `random`: those with 2 * weight > U(0,1).
/// Undefined: all do.
torch::Tensor random_second_T(const torch::Tensor& second_weight_T, const RoutingContext& context) {
  const int64_t num_tokens = second_weight_T.size(0);
  auto uniform_T = context.uniform_T;
  if (!uniform_T.defined()) {
    if (!context.training) return {};
    auto key = context.noise;
    key.site = NoiseSite::kSecondExpertUniform;
    uniform_T = uniform_noise(num_tokens, 1, key, second_weight_T.device()).squeeze(1);
  }
  EVOMOE_CHECK(uniform_T.dim() == 1 && uniform_T.size(0) == num_tokens,
               "the injected uniform noise has shape {}, but there are {} rows",
               c10::str(uniform_T.sizes()), num_tokens);
  return 2 * second_weight_T.detach() > uniform_T.to(second_weight_T.options());
}

}  // namespace

void GshardOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("moe-second-expert-policy", &second_expert_policy,
           "gshard: the second expert is sampled, used at random by its weight, or always the "
           "second best.")
      .choices({"sampling", "random", "all"})
      .of_reference();
  table
      .add("moe-normalize-gate-prob-before-dropping", &normalize_before_dropping,
           "gshard: the two weights are divided by their sum before tokens are dropped for "
           "capacity, not after.")
      .of_reference();
  table
      .add("moe-batch-prioritized-routing", &batch_prioritized,
           "gshard: tokens with the largest first weight get their places first.")
      .of_reference();
}

void GshardOptions::validate() const {
  const auto& policy = second_expert_policy;
  if (policy != "sampling" && policy != "random" && policy != "all") {
    fail_usage("--moe-second-expert-policy {}: allowed are sampling, random, all", policy);
  }
}

GshardRouter::GshardRouter(RouterShape shape, CapacityOptions capacity, GshardOptions options)
    : Router(std::move(shape)), capacity_(std::move(capacity)), options_(std::move(options)) {
  if (num_experts() < 2) {
    fail_usage("--moe-expert-count {}: the top-2 router `gshard` needs at least 2 experts",
               num_experts());
  }
  if (capacity_.scope == "global" && options_.batch_prioritized) {
    fail_usage(
        "--moe-capacity-scope global does not go with --moe-batch-prioritized-routing, whose order "
        "is that of a rank's own tokens; leave one of them out");
  }
}

Routing GshardRouter::route(const torch::Tensor& x_TD, const RoutingContext& context) {
  const auto logits_TE = logits(x_TD);
  const int64_t num_tokens = logits_TE.size(0);
  const auto routed_T = routed_rows(context, num_tokens);
  const auto capacity_of_expert = capacity(num_tokens, context.training);
  const auto probability_TE = torch::softmax(logits_TE, /*dim=*/1);

  // Both choices are constants of the graph.
  const auto [first_weight_T, first_T] = probability_TE.max(/*dim=*/1);
  const auto first_T1 = first_T.unsqueeze(1);
  auto noisy_TE = logits_TE.detach();
  if (options_.second_expert_policy == "sampling") {
    const auto noise_TE =
        gate_noise(context.second_gumbel_TE, NoiseSite::kSecondExpertGumbel, logits_TE, context);
    if (noise_TE.defined()) noisy_TE = noisy_TE + noise_TE;
  }
  const auto second_T =
      noisy_TE.scatter(1, first_T1, -std::numeric_limits<double>::infinity()).argmax(1);
  const auto second_T1 = second_T.unsqueeze(1);
  const auto second_weight_T = probability_TE.gather(1, second_T1).squeeze(1);

  auto weight_TE = probability_TE;
  auto decision_weight_T = second_weight_T;
  if (options_.normalize_before_dropping) {
    const auto sum_T =
        (first_weight_T + second_weight_T).clamp_min(epsilon(logits_TE.scalar_type()));
    weight_TE = probability_TE / sum_T.unsqueeze(1);
    decision_weight_T = second_weight_T / sum_T;
  }
  torch::Tensor keeps_second_T;
  if (options_.second_expert_policy == "random") {
    keeps_second_T = random_second_T(decision_weight_T, context);
  }
  auto first_TE = torch::zeros_like(logits_TE, torch::kBool).scatter_(1, first_T1, true);
  auto second_TE = torch::zeros_like(logits_TE, torch::kBool).scatter_(1, second_T1, true);
  if (keeps_second_T.defined()) second_TE.logical_and_(keeps_second_T.unsqueeze(1));
  if (routed_T.defined()) {
    first_TE.logical_and_(routed_T.unsqueeze(1));
    second_TE.logical_and_(routed_T.unsqueeze(1));
  }
  const auto selected_TE = first_TE.logical_or(second_TE);
  auto routing = Routing::from_mask(selected_TE, weight_TE);
  routing.normalize_after_drop = !options_.normalize_before_dropping;
  // Second choices queue behind all first ones; within a choice tokens queue in order, or by
  // importance.
  const auto is_second_A = routing.expert_A() != first_T.index_select(0, routing.token_A);
  const auto rank_A = options_.batch_prioritized
                          ? importance_rank_T(first_weight_T).index_select(0, routing.token_A)
                          : routing.token_A;
  routing.priority_A = is_second_A * num_tokens + rank_A;

  const auto first_count_E = first_TE.sum(0);
  routing.losses.push_back(balance(probability_TE, first_count_E, num_tokens, context));
  complete(routing, logits_TE, probability_TE, selected_TE, valid_rows(context, num_tokens));
  auto& metrics = routing.stats.reference;
  metrics.emplace_back("entropy_gating", mean_entropy(probability_TE));
  append_overflow(metrics, first_count_E, second_TE.sum(0), capacity_of_expert);
  append_histogram_metrics(metrics, "expert1", first_T, num_experts());
  append_histogram_metrics(metrics, "expert2", second_T, num_experts());
  return routing;
}

std::optional<int64_t> GshardRouter::capacity(int64_t num_rows, bool training) const {
  if (capacity_.train_factor <= 0) return std::nullopt;
  if (!training) {
    if (const auto capacity = capacity_.in_evaluation(num_rows)) return capacity;
  }
  return 2 * ((num_rows + num_experts() - 1) / num_experts());
}

}  // namespace evomoe
