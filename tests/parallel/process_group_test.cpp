#include "evomoe/parallel/process_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <exception>
#include <future>
#include <vector>

#include "evomoe/base/error.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using std::chrono::milliseconds;

/// Ranks as threads of this process.
class ProcessGroups : public ::testing::Test {
 protected:
  void SetUp() override { EVOMOE_NEEDS_RANKS(); }

  RankPlace place(int64_t rank, int64_t size) const {
    return {.rank = rank,
            .size = size,
            .local_rank = rank,
            .local_size = size,
            .init_method = "file://" + (folder_ / "ranks").string()};
  }

  /// What each rank did wrong; empty: nothing.
  template <typename Work>
  std::vector<std::string> run(int64_t size, const Work& work) const {
    std::vector<std::future<std::string>> ranks;
    for (int64_t rank = 0; rank < size; ++rank) {
      ranks.push_back(std::async(std::launch::async, [&work, rank]() -> std::string {
        try {
          work(rank);
        } catch (const std::exception& error) {
          return error.what();
        }
        return "";
      }));
    }
    std::vector<std::string> errors;
    for (auto& rank : ranks) errors.push_back(rank.get());
    return errors;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ProcessGroups, AddTensorsAndNumbersOfAllRanksToTheSameBits) {
  constexpr int64_t kRanks = 3;
  std::vector<torch::Tensor> sums(kRanks);
  const auto errors = run(kRanks, [&](int64_t rank) {
    const auto ranks = join_ranks(place(rank, kRanks), {{"version", "1"}}, milliseconds(20'000));
    EXPECT_EQ(ranks->rank(), rank);
    EXPECT_EQ(ranks->size(), kRanks);
    torch::manual_seed(static_cast<uint64_t>(rank));
    auto values = torch::randn({1000}) / 3;
    ranks->all_reduce_sum(values);
    sums[rank] = values;
    auto transposed = torch::full({2, 3}, rank + 1.0).t();
    ranks->all_reduce_sum(transposed);
    EXPECT_TRUE(torch::equal(transposed, torch::full({3, 2}, 6.0)));
    auto counts = torch::full({2}, rank, torch::kInt64);
    ranks->all_reduce_sum(counts);
    EXPECT_EQ(counts[1].item<int64_t>(), 3);
    auto none = torch::empty({0});
    ranks->all_reduce_sum(none);
    std::array<double, 2> numbers = {0.5, static_cast<double>(rank)};
    ranks->all_reduce_sum(numbers);
    EXPECT_EQ(numbers, (std::array<double, 2>{1.5, 3.0}));
  });
  EXPECT_THAT(errors, ::testing::Each(""));
  EXPECT_TRUE(torch::equal(sums[0], sums[1]) && torch::equal(sums[0], sums[2]));
}

TEST_F(ProcessGroups, RanksThatDifferAreRefusedWithWhatDiffers) {
  const auto errors = run(2, [&](int64_t rank) {
    join_ranks(place(rank, 2), {{"--lr", rank == 0 ? "0.1" : "0.2"}, {"version", "1"}},
               milliseconds(1000));
  });
  EXPECT_THAT(errors[1], ::testing::HasSubstr("rank 1 of 2 differs from rank 0: --lr is '0.2', and "
                                              "'0.1' on rank 0"));
}

TEST_F(ProcessGroups, ARankThatDoesNotComeOrComesTwiceIsNamed) {
  expect_error([&] { join_ranks(place(0, 2), {}, milliseconds(300)); },
               {"rank 0 of 2", "rank 1 did not come"});
  const testing::TemporaryFolder other;
  auto twice = place(0, 2);
  twice.init_method = "file://" + (other / "ranks").string();
  const auto errors = run(2, [&](int64_t) { join_ranks(twice, {}, milliseconds(300)); });
  EXPECT_THAT(errors, ::testing::Contains(::testing::HasSubstr("two processes are rank 0")));
}

TEST_F(ProcessGroups, AnAddressThatNobodyServesIsNamed) {
  auto nobody = place(1, 2);
  nobody.init_method = "tcp://127.0.0.1:9";
  expect_error([&] { join_ranks(nobody, {}, milliseconds(300)); },
               {"rank 1 of 2", "tcp://127.0.0.1:9", "Is rank 0 running"});
}

TEST_F(ProcessGroups, ARankThatEndsEndsTheSumsOfTheOthersWithAnErrorOfTheirPlace) {
  const auto errors = run(2, [&](int64_t rank) {
    const auto ranks = join_ranks(place(rank, 2), {}, milliseconds(20'000));
    auto values = torch::ones({7});
    ranks->all_reduce_sum(values);
    if (rank == 1) return;  // leaves
    ranks->all_reduce_sum(values);
  });
  EXPECT_EQ(errors[1], "");
  EXPECT_THAT(errors[0], ::testing::HasSubstr("rank 0 of 2: the sum of [7] Float over all ranks"));
  EXPECT_THAT(errors[0], ::testing::HasSubstr("Another process of the run has ended"));
}

}  // namespace
}  // namespace evomoe
