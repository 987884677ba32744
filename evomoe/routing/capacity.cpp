#include "evomoe/routing/capacity.h"

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

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

/// `kept_count_E`: how many of each expert's, on the CPU.
void keep(Routing& routing, const torch::Tensor& kept_A, const torch::Tensor& kept_count_E,
          const torch::Tensor& valid_T) {
  const auto place_A = kept_A.nonzero().squeeze(1);
  auto dropped_A = kept_A.logical_not();
  if (valid_T.defined()) dropped_A.logical_and_(valid_T.index_select(0, routing.token_A));
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

Routing finished(Routing routing) {
  if (routing.normalize_after_drop) normalize(routing);
  routing.stats.assignments = routing.num_assignments();
  return routing;
}

/// The place of each assignment of this rank in the queue of its expert that all ranks share, int64
/// [A]; that of one that does not take part means nothing.
torch::Tensor slots_among_ranks(const Routing& routing, int64_t num_rows, const std::string& policy,
                                bool takes_part, Communicator& ranks) {
  const auto expert_A = routing.expert_A();
  auto key_A = torch::zeros({expert_A.size(0)}, torch::kFloat64);
  if (policy == "probs") {
    key_A = -routing.weight_A.detach().to(torch::kFloat64);
  } else if (routing.priority_A.defined()) {
    key_A = torch::floor_divide(routing.priority_A, num_rows).to(torch::kFloat64);
  }
  auto mine_AN = torch::stack({expert_A.to(torch::kFloat64), key_A}, /*dim=*/1);
  if (!takes_part) mine_AN = mine_AN.slice(0, 0, 0);
  const auto count_P = ranks.all_gather(static_cast<double>(mine_AN.size(0)));
  const std::vector<int64_t> sent_P(count_P.size(), mine_AN.size(0)),
      received_P(count_P.begin(), count_P.end());
  const auto all_AN = ranks.all_to_all(mine_AN.repeat({ranks.size(), 1}), sent_P, received_P);
  // By expert, then by key; ranks and tokens are in their order.
  const auto by_key_A = std::get<1>(all_AN.select(1, 1).sort(/*stable=*/true, /*dim=*/0, false));
  const auto expert_of_A = all_AN.select(1, 0).to(torch::kInt64);
  const auto by_expert_A =
      std::get<1>(expert_of_A.index_select(0, by_key_A).sort(/*stable=*/true, /*dim=*/0, false));
  const auto order_A = by_key_A.index_select(0, by_expert_A);
  const auto load_E = torch::bincount(expert_of_A, {}, routing.num_experts());
  const auto begin_E = load_E.cumsum(0) - load_E;
  auto slot_A = torch::arange(order_A.size(0)) -
                begin_E.index_select(0, expert_of_A.index_select(0, order_A));
  slot_A = torch::empty_like(order_A).scatter_(0, order_A, slot_A);
  if (!takes_part) return torch::zeros({expert_A.size(0)}, torch::kInt64);
  const auto first =
      std::accumulate(received_P.begin(), received_P.begin() + ranks.rank(), int64_t{0});
  return slot_A.narrow(0, first, expert_A.size(0));
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
  table
      .add("moe-capacity-scope", &scope,
           "Whose tokens an expert's capacity is for in training: each rank's own, as the "
           "reference, or those of all ranks together, so that what is dropped does not depend on "
           "how a batch is divided among them.")
      .choices({"rank", "global"});
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
    keep(routing, slot_A < *capacity, count_E(routing).clamp_max(*capacity), valid_T);
  }
  return finished(std::move(routing));
}

Routing apply_capacity_of_ranks(Routing routing, int64_t num_rows,
                                const std::function<std::optional<int64_t>(int64_t rows)>& capacity,
                                const std::string& policy, const torch::Tensor& valid_T,
                                bool takes_part, Communicator& ranks) {
  double rows = takes_part ? static_cast<double>(num_rows) : 0;
  ranks.all_reduce_sum(rows);
  const auto limit = capacity(static_cast<int64_t>(rows));
  if (!limit) return finished(std::move(routing));
  const auto kept_A = slots_among_ranks(routing, num_rows, policy, takes_part, ranks) < *limit;
  const auto kept_count_E = torch::bincount(
      routing.expert_A().index_select(0, kept_A.nonzero().squeeze(1)), {}, routing.num_experts());
  keep(routing, kept_A, kept_count_E, valid_T);
  return finished(std::move(routing));
}

}  // namespace evomoe
