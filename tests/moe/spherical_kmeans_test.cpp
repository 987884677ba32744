#include "evomoe/moe/spherical_kmeans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "evomoe/base/error.h"
#include "tests/testing/ranks.h"

namespace evomoe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr int64_t kWidth = 6, kGroups = 4;

/// Rows of any length around the first axes, more of one than of the next, and their order.
std::pair<torch::Tensor, torch::Tensor> grouped_rows() {
  torch::manual_seed(3);
  const auto group_N = (torch::rand({200}).square() * kGroups).to(torch::kInt64);
  const auto near_ND =
      torch::eye(kWidth).index_select(0, group_N) + 0.1 * torch::randn({200, kWidth});
  return {near_ND * (0.1 + 5 * torch::rand({200, 1})), torch::rand({200})};
}

TEST(SphericalKmeans, FindsTheDirectionsOfGroupsWhateverTheirLengthsAndSizes) {
  const auto [x_ND, order_N] = grouped_rows();
  SelfCommunicator self;
  const auto centroid_KD = spherical_kmeans(x_ND, order_N, kGroups, self);
  EXPECT_TRUE(torch::allclose(centroid_KD.norm(2, 1), torch::ones({kGroups}, torch::kFloat64)));
  const auto cosine_K = std::get<0>(centroid_KD.slice(1, 0, kGroups).max(0));
  EXPECT_GT(cosine_K.min().item<double>(), 0.98);  // each axis has one
  // Every row belongs to the nearest, and each direction is the mean of its rows.
  const auto unit_ND = torch::nn::functional::normalize(x_ND.to(torch::kFloat64));
  const auto nearest_N = unit_ND.mm(centroid_KD.t()).argmax(1);
  for (int64_t k = 0; k < kGroups; ++k) {
    const auto sum_D = unit_ND.index_select(0, (nearest_N == k).nonzero().squeeze(1)).sum(0);
    EXPECT_TRUE(torch::allclose(sum_D / sum_D.norm(), centroid_KD[k], 1e-9, 1e-12));
  }
}

TEST(SphericalKmeans, DoesNotDependOnWhichRankHasWhichRows) {
  EVOMOE_NEEDS_RANKS();
  const auto [x_ND, order_N] = grouped_rows();
  SelfCommunicator self;
  const auto expected_KD = spherical_kmeans(x_ND, order_N, kGroups, self);
  for (const int ranks : {2, 3}) {
    const auto found = testing::on_ranks(ranks, [&, x_ND = x_ND, order_N = order_N](
                                                    const std::shared_ptr<Communicator>& all) {
      // The last rank has none.
      const auto size = 200 / (ranks - 1) + 1, begin = all->rank() * size;
      const auto part = [&](const torch::Tensor& rows) {
        return rows.slice(0, std::min<int64_t>(begin, 200), std::min<int64_t>(begin + size, 200));
      };
      return spherical_kmeans(part(x_ND), part(order_N), kGroups, *all);
    });
    for (const auto& centroid_KD : found)
      EXPECT_TRUE(torch::allclose(centroid_KD, expected_KD, 1e-9, 1e-12)) << ranks;
  }
}

TEST(SphericalKmeans, LeavesOutRowsOfZerosAndRefusesTooFew) {
  SelfCommunicator self;
  const auto x_ND = torch::cat({torch::zeros({5, 3}), torch::eye(3)});
  const auto order_N = torch::rand({8});
  const auto centroid_KD = spherical_kmeans(x_ND, order_N, 3, self);
  EXPECT_TRUE(torch::equal(std::get<0>(centroid_KD.max(0)), torch::ones({3}, torch::kFloat64)));
  EXPECT_THAT([&] { spherical_kmeans(x_ND, order_N, 4, self); },
              ThrowsMessage<Error>(HasSubstr("4 directions in 3 tokens")));
}

}  // namespace
}  // namespace evomoe
