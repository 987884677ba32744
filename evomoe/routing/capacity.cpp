#include "evomoe/routing/capacity.h"

#include <cmath>
#include <utility>

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/routing/epsilon.h"

namespace evomoe {
namespace {

torch::Tensor count_E(const Routing& routing) {
  return routing.offset_E1.slice(0, 1) - routing.offset_E1.slice(0, 0, routing.num_experts());
}

/// The place of each assignment in the order of storage: 0, 1, ... within each expert.
torch::Tensor stored_slot_A(const Routing& routing) {
  const auto& token_A = routing.token_A;
  const auto start_A = routing.offset_E1.slice(0, 0, routing.num_experts())
                           .repeat_interleave(count_E(routing))
                           .to(token_A.device());
  return torch::arange(token_A.size(0), token_A.options()) - start_A;
}

/// The place of each assignment in its expert's queue when `order_A` lists all assignments, first
/// served first.
torch::Tensor queue_slot_A(const Routing& routing, const torch::Tensor& order_A) {
  const auto expert_A = routing.expert_A().index_select(0, order_A);
  const auto by_expert_A = std::get<1>(expert_A.sort(/*stable=*/true, /*dim=*/0, false));
  // Position i of the order by (expert, place in the queue) belongs to the expert of stored
  // assignment i.
  return torch::empty_like(order_A).scatter_(0, order_A.index_select(0, by_expert_A),
                                             stored_slot_A(routing));
}

torch::Tensor sorted_order(const torch::Tensor& key_A, bool descending) {
  return std::get<1>(key_A.detach().sort(/*stable=*/true, /*dim=*/0, descending));
}

void keep(Routing& routing, const torch::Tensor& kept_A, int64_t capacity,
          const torch::Tensor& valid_T) {
  const auto place_A = kept_A.nonzero().squeeze(1);
  auto dropped_A = kept_A.logical_not();
  if (valid_T.defined()) dropped_A.logical_and_(valid_T.index_select(0, routing.token_A));
  const auto kept_count_E = count_E(routing).clamp_max(capacity);
  routing.token_A = routing.token_A.index_select(0, place_A);
  routing.weight_A = routing.weight_A.index_select(0, place_A);
  if (routing.priority_A.defined()) {
    routing.priority_A = routing.priority_A.index_select(0, place_A);
  }
  routing.offset_E1 =
      torch::cat({torch::zeros({1}, kept_count_E.options()), kept_count_E.cumsum(0)});
  auto& total = routing.stats.dropped;
  total = total.defined() ? total + dropped_A.sum() : dropped_A.sum();
}

/// GShard's normalisation over the experts that a token could keep.
void normalize(Routing& routing) {
  routing.normalize_after_drop = false;
  if (routing.num_assignments() == 0) return;
  const int64_t num_tokens = routing.token_A.max().item<int64_t>() + 1;
  const auto& weight_A = routing.weight_A;
  const auto sum_T = torch::zeros({num_tokens}, weight_A.options().requires_grad(false))
                         .index_add(0, routing.token_A, weight_A)
                         .clamp_min(epsilon(weight_A.scalar_type()));
  routing.weight_A = weight_A / sum_T.index_select(0, routing.token_A);
}

}  // namespace

std::optional<int64_t> CapacityOptions::in_evaluation(int64_t num_rows) const {
  if (eval_fraction <= 0) return std::nullopt;
  return static_cast<int64_t>(std::ceil(eval_fraction * static_cast<double>(num_rows)));
}

void CapacityOptions::describe(OptionTable& table) {
  table.group("moe");
  table
      .add("moe-train-capacity-token-fraction", &train_factor,
           "Capacity factor in training; 0 or less: no token is dropped.")
      .of_reference()
      .off_up_to(0);
  table
      .add("moe-eval-capacity-token-fraction", &eval_fraction,
           "Capacity in evaluation as a fraction of the tokens; 0 or less: the training formula.")
      .of_reference()
      .off_up_to(0);
  table
      .add("moe-drop-policy", &drop_policy,
           "Which assignments of a full expert are kept: the first, or the most probable.")
      .choices({"position", "probs"});
}

void CapacityOptions::validate() const {
  if (std::isnan(train_factor) || std::isinf(train_factor)) {
    fail_usage("--moe-train-capacity-token-fraction {}: give a finite factor, or 0 for dropless",
               train_factor);
  }
  if (std::isnan(eval_fraction) || eval_fraction > 1) {
    fail_usage(
        "--moe-eval-capacity-token-fraction {}: allowed is at most 1 (all tokens), or -1 for "
        "the training formula",
        eval_fraction);
  }
  if (drop_policy != "position" && drop_policy != "probs") {
    fail_usage(
        "--moe-drop-policy {}: allowed are position (first come, first served) and probs "
        "(largest weights)",
        drop_policy);
  }
}

torch::Tensor slots(const Routing& routing) {
  if (!routing.priority_A.defined()) return stored_slot_A(routing);
  return queue_slot_A(routing, sorted_order(routing.priority_A, /*descending=*/false));
}

Routing apply_capacity(Routing routing, std::optional<int64_t> capacity, const std::string& policy,
                       const torch::Tensor& valid_T) {
  EVOMOE_CHECK(capacity.value_or(0) >= 0,
               "the capacity of an expert is {}; it must be 0 or more (dropless: leave it out)",
               *capacity);
  EVOMOE_CHECK(policy == "position" || policy == "probs",
               "unknown drop policy `{}`: allowed are position and probs", policy);
  if (capacity && count_E(routing).max().item<int64_t>() > *capacity) {
    const auto slot_A =
        policy == "position"
            ? slots(routing)
            : queue_slot_A(routing, sorted_order(routing.weight_A, /*descending=*/true));
    keep(routing, slot_A < *capacity, *capacity, valid_T);
  }
  if (routing.normalize_after_drop) normalize(routing);
  routing.stats.assignments = routing.num_assignments();
  return routing;
}

}  // namespace evomoe
