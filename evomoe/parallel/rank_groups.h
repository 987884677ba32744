#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "evomoe/parallel/communicator.h"

namespace evomoe {

/// The ranks of a run, by what they hold. Ranks 0 to P-1 hold one copy of all experts together,
/// each its own ones; so do the next P, and so on. Everything else is on each rank.
struct RankGroups {
  std::shared_ptr<Communicator> all;
  std::shared_ptr<Communicator> experts;   ///< the P ranks that hold one copy of the experts
  std::shared_ptr<Communicator> replicas;  ///< the ranks that hold the same experts as this one
};

/// Every rank of `all` calls it. `expert_ranks`: P. Error: P does not divide the number of ranks.
RankGroups make_rank_groups(std::shared_ptr<Communicator> all, int64_t expert_ranks);

/// A second communicator of the same ranks, for operations of another thread. Every rank calls it.
std::shared_ptr<Communicator> same_ranks(Communicator& ranks);

/// Those of a run with one process.
RankGroups one_rank();

/// Some of the E experts: from `begin` on, before `end`.
struct ExpertRange {
  int64_t begin = 0, end = 0;

  int64_t size() const { return end - begin; }
  bool operator==(const ExpertRange&) const = default;
};

/// The experts of each of P ranks, in order and as evenly as can be: the first E mod P ranks own
/// one more. P <= E.
std::vector<ExpertRange> expert_owners(int64_t num_experts, int64_t ranks);

}  // namespace evomoe
