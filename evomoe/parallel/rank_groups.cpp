#include "evomoe/parallel/rank_groups.h"

#include <numeric>

#include "evomoe/base/error.h"

namespace evomoe {

RankGroups make_rank_groups(std::shared_ptr<Communicator> all, int64_t expert_ranks) {
  const int size = all->size(), rank = all->rank(), P = static_cast<int>(expert_ranks);
  EVOMOE_CHECK(P > 0 && size % P == 0,
               "{} ranks cannot be divided into groups of {} that hold the experts", size, P);
  std::vector<int> experts, replicas;
  for (int other = 0; other < size; ++other) {
    if (other / P == rank / P) experts.push_back(other);
    if (other % P == rank % P) replicas.push_back(other);
  }
  RankGroups groups;
  groups.experts = all->split(experts);
  groups.replicas = all->split(replicas);
  groups.all = std::move(all);
  return groups;
}

std::shared_ptr<Communicator> same_ranks(Communicator& ranks) {
  std::vector<int> everyone(static_cast<size_t>(ranks.size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  return ranks.split(everyone);
}

RankGroups one_rank() { return make_rank_groups(std::make_shared<SelfCommunicator>(), 1); }

std::vector<ExpertRange> expert_owners(int64_t num_experts, int64_t ranks) {
  EVOMOE_CHECK(0 < ranks && ranks <= num_experts,
               "{} experts cannot be owned by {} ranks: each needs one at least", num_experts,
               ranks);
  std::vector<ExpertRange> owners;
  int64_t begin = 0;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const auto count = num_experts / ranks + (rank < num_experts % ranks ? 1 : 0);
    owners.push_back({begin, begin + count});
    begin += count;
  }
  return owners;
}

}  // namespace evomoe
