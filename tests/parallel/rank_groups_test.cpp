#include "evomoe/parallel/rank_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "evomoe/base/error.h"
#include "evomoe/parallel/distributed_options.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using testing::on_ranks;
using Ranks = std::shared_ptr<Communicator>;

TEST(ExpertOwners, AreAsEvenAsCanBe) {
  EXPECT_THAT(expert_owners(7, 3),
              ::testing::ElementsAre(ExpertRange{0, 3}, ExpertRange{3, 5}, ExpertRange{5, 7}));
  EXPECT_THAT(expert_owners(4, 4), ::testing::Each(::testing::ResultOf(
                                       [](const ExpertRange& of) { return of.size(); }, 1)));
  expect_error([] { expert_owners(2, 3); }, {"2 experts", "3 ranks"});
}

TEST(ExpertParallelSize, IsTheReferencesWhereItIsNotGiven) {
  const auto size = [](int64_t given, int64_t experts, int64_t ranks) {
    DistributedOptions options;
    options.expert_parallel_size = given;
    return expert_parallel_size(options, experts, ranks);
  };
  EXPECT_EQ(size(0, 8, 4), 4);
  EXPECT_EQ(size(0, 2, 4), 2);
  EXPECT_EQ(size(0, 3, 4), 2) << "the ranks fall into equal groups";
  EXPECT_EQ(size(0, 0, 4), 1);
  EXPECT_EQ(size(1, 8, 4), 1);
  EXPECT_EQ(size(2, 8, 4), 2);
  expect_error([&] { size(3, 8, 4); }, {"--expert-parallel-size 3", "4 ranks"});
  expect_error([&] { size(4, 2, 4); }, {"--expert-parallel-size 4", "2 experts"});
}

TEST(RankGroups, RanksAreDividedByTheirExperts) {
  EVOMOE_NEEDS_RANKS();
  const auto found = on_ranks(4, [](const Ranks& all) {
    const auto groups = make_rank_groups(all, 2);
    std::vector<double> sums;
    for (const auto& group : {groups.all, groups.experts, groups.replicas}) {
      double sum = 1 << all->rank();
      group->all_reduce_sum(sum);
      sums.push_back(sum);
    }
    return sums;
  });
  EXPECT_THAT(found[0], ::testing::ElementsAre(15, 3, 5));
  EXPECT_THAT(found[1], ::testing::ElementsAre(15, 3, 10));
  EXPECT_THAT(found[2], ::testing::ElementsAre(15, 12, 5));
  EXPECT_THAT(found[3], ::testing::ElementsAre(15, 12, 10));
  expect_error([] { make_rank_groups(std::make_shared<SelfCommunicator>(), 2); }, {"groups of 2"});
}

TEST(Communicator, RowsGatheredAndDividedSumsAreThoseOfAllRanks) {
  EVOMOE_NEEDS_RANKS();
  constexpr int kRanks = 3;
  const auto work = [](const Ranks& ranks) {
    const auto rank = ranks->rank(), size = ranks->size();
    // Rank r sends r + p rows with 10 r + p in them to rank p; rank 0 sends itself none.
    std::vector<int64_t> sent, received;
    std::vector<torch::Tensor> rows;
    for (int other = 0; other < size; ++other) {
      sent.push_back(rank + other);
      received.push_back(rank + other);
      rows.push_back(torch::full({rank + other, 2}, 10.0 * rank + other));
    }
    const auto visiting = ranks->all_to_all(torch::cat(rows), sent, received);
    int64_t at = 0;
    for (int other = 0; other < size; ++other) {
      const auto own = visiting.narrow(0, at, received[static_cast<size_t>(other)]);
      EXPECT_TRUE(torch::equal(own, torch::full_like(own, 10.0 * other + rank)));
      at += own.size(0);
    }
    EXPECT_EQ(at, visiting.size(0));

    auto whole = torch::empty({2L * size});
    ranks->start_all_gather(whole, torch::full({2}, static_cast<float>(rank)))->wait();
    EXPECT_TRUE(torch::equal(whole, torch::arange(size).repeat_interleave(2).to(torch::kFloat)));
    auto part = torch::empty({2});
    ranks->start_reduce_scatter_sum(part, torch::arange(2.0F * size))->wait();
    EXPECT_TRUE(torch::equal(part, (torch::arange(2.0F) + 2.0F * rank) * size));
    auto sum = torch::ones({3});
    ranks->start_all_reduce_sum(sum)->wait();
    EXPECT_TRUE(torch::equal(sum, torch::full({3}, static_cast<float>(size))));
  };
  on_ranks(kRanks, work);
  on_ranks(1, work);
  work(std::make_shared<SelfCommunicator>());
}

}  // namespace
}  // namespace evomoe
