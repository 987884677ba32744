#include "evomoe/plan/layout.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "evomoe/parallel/rank_groups.h"

namespace evomoe {
namespace {

constexpr double kWord = 4;
/// Parameters, gradients and what the optimiser keeps are read, and but for the gradients written.
constexpr double kTouches = 7;
/// Of the time of a micro-batch, what is left when the first gradients are there.
constexpr double kBackwardShare = 2.0 / 3;

/// A group of ranks that talk, each of them at a distance of `stride` from the next.
struct Group {
  int64_t ranks = 1, stride = 1;

  /// A ring is as fast as its slowest link.
  const Link& link(const Machine& machine) const {
    return ranks * stride <= machine.ranks_per_node ? machine.inside : machine.between;
  }
  /// What a rank sends of so many bytes when they go round once.
  double of_ring(double bytes) const {
    return bytes * static_cast<double>(ranks - 1) / static_cast<double>(ranks);
  }
};

/// Times that the words of a parameter go round the ring in an update: a sum is two, a sum of which
/// each rank gets its part one, a gather one.
double rounds_of(int64_t zero_stage, int64_t micro_batches_of_rank) {
  switch (zero_stage) {
    case 0:
      return 2;
    case 1:
      return 3;
    case 2:
      return static_cast<double>(micro_batches_of_rank) + 1;
    default:
      // Gathered for the forward and again for the backward pass of each micro-batch.
      return 3 * static_cast<double>(micro_batches_of_rank);
  }
}

/// Of these, the rounds behind the optimiser, which nothing is computed beside: the parameters that
/// a rank has changed go to the others.
double rounds_behind_update(int64_t zero_stage) {
  return zero_stage == 1 || zero_stage == 2 ? 1 : 0;
}

/// Bytes of experts, or of the others, that go round the ring in an update: of what is trained
/// gradients are summed, and in stages 1 and 2 what was updated is gathered.
double bytes_on_ring(const Layout& layout, const Workload& work, int64_t ParameterBytes::*kind) {
  const auto bytes = [&](const ParameterBytes& of) { return static_cast<double>(of.*kind); };
  const auto& memory = work.memory;
  const auto trained = bytes(memory.model().trained);
  if (layout.zero_stage < 3) return rounds_of(layout.zero_stage, work.micro_batches) * trained;
  // Of stage 3 everything is gathered for the forward and again for the backward pass. The last
  // block stays whole in between, what is outside of blocks during the update.
  const auto m = static_cast<double>(work.micro_batches);
  auto gathered = bytes(memory.outside.all);
  for (const auto& block : memory.blocks) gathered += 2 * m * bytes(block.all);
  if (!memory.blocks.empty()) gathered -= m * bytes(memory.blocks.back().all);
  return m * trained + gathered;
}

}  // namespace

std::vector<Layout> layouts_of(int64_t ranks, int64_t experts, bool element_wise_optimizer) {
  std::vector<Layout> layouts;
  for (int64_t share = 1; share <= ranks; ++share) {
    if (ranks % share != 0 || share > std::max<int64_t>(experts, 1)) continue;
    for (int64_t stage = 0; stage <= (element_wise_optimizer && ranks > 1 ? 3 : 0); ++stage)
      layouts.push_back({ranks, share, stage});
  }
  return layouts;
}

double ranks_visited(int64_t ranks, int64_t experts, double active) {
  if (ranks < 2 || experts == 0) return 0;
  double visited = 0;
  for (const auto& owned : expert_owners(experts, ranks)) {
    // The chance that none of k choices without repetition is of this rank; between whole k it is
    // interpolated by the gamma function.
    const auto E = static_cast<double>(experts), others = E - static_cast<double>(owned.size());
    const double none = active > others
                            ? 0
                            : std::exp(std::lgamma(others + 1) + std::lgamma(E - active + 1) -
                                       std::lgamma(others - active + 1) - std::lgamma(E + 1));
    visited += 1 - none;
  }
  return visited * static_cast<double>(ranks - 1) / static_cast<double>(ranks);
}

LayoutCost cost_of(const Layout& layout, const Workload& work, const Machine& machine) {
  const Group all{layout.ranks, 1};
  const Group experts{layout.expert_ranks, 1};
  const Group replicas{layout.ranks / layout.expert_ranks, layout.expert_ranks};
  const auto micro_batches = work.micro_batches;
  LayoutCost cost;
  cost.layout = layout;

  cost.memory = static_cast<double>(share_of_rank(work.memory, {.ranks = layout.ranks,
                                                                .expert_ranks = layout.expert_ranks,
                                                                .zero_stage = layout.zero_stage})
                                        .total());
  cost.fits = cost.memory <= machine.memory;

  const auto rounds = rounds_of(layout.zero_stage, micro_batches);
  const auto shared_bytes = all.of_ring(bytes_on_ring(layout, work, &ParameterBytes::others));
  const auto expert_bytes =
      replicas.of_ring(bytes_on_ring(layout, work, &ParameterBytes::experts)) /
      static_cast<double>(experts.ranks);
  cost.gradient_bytes = shared_bytes + expert_bytes;
  const double rows = static_cast<double>(work.tokens * micro_batches) *
                      ranks_visited(experts.ranks, work.experts, work.active_experts);
  cost.token_bytes =
      rows * static_cast<double>(work.width) * kWord * static_cast<double>(work.exchanges);

  cost.compute_seconds = static_cast<double>(micro_batches) * work.flops / machine.flops;
  const auto trained = work.memory.model().trained;
  cost.update_seconds =
      kTouches *
      static_cast<double>(layout.zero_stage >= 1 ? trained.sum() / layout.ranks
                                                 : trained.of_rank(layout.expert_ranks)) /
      machine.memory_bandwidth;
  const double of_gradients =
      shared_bytes / all.link(machine).bandwidth + expert_bytes / replicas.link(machine).bandwidth +
      (all.ranks > 1 ? static_cast<double>(work.blocks) * rounds * all.link(machine).latency : 0);
  // Stages 0 and 1 send during the last micro-batch's backward pass, stage 2 during each, stage 3
  // all the time.
  const double backward = kBackwardShare * work.flops / machine.flops;
  const double computing = layout.zero_stage == 3   ? cost.compute_seconds
                           : layout.zero_stage == 2 ? static_cast<double>(micro_batches) * backward
                                                    : backward;
  const double beside = of_gradients * (1 - rounds_behind_update(layout.zero_stage) / rounds);
  cost.wait_seconds = of_gradients - machine.overlap * std::min(beside, computing);
  if (experts.ranks > 1) {
    cost.wait_seconds +=
        cost.token_bytes / experts.link(machine).bandwidth +
        static_cast<double>(micro_batches * work.exchanges) * 2 * experts.link(machine).latency;
  }
  return cost;
}

std::vector<LayoutCost> ranked(std::vector<LayoutCost> costs) {
  std::ranges::stable_sort(costs, {}, [](const LayoutCost& cost) {
    return std::tuple(!cost.fits, cost.fits ? cost.seconds() : 0.0, cost.memory);
  });
  return costs;
}

}  // namespace evomoe
