#include "evomoe/moe/spherical_kmeans.h"

#include <algorithm>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

using torch::Tensor;

constexpr int64_t kMostRounds = 50;
/// Rows from which a direction's beginning is chosen, for each direction.
constexpr int64_t kCandidates = 16;

/// The rows of all ranks that come first, at most `count`, in their order.
Tensor first_rows(const Tensor& x_ND, const Tensor& order_N, int64_t count, Communicator& ranks) {
  const auto D = x_ND.size(1), mine = std::min(count, x_ND.size(0));
  const auto place_M = order_N.argsort().slice(0, 0, mine);
  // Each rank writes its rows, and a mark that they are there, into its place among zeros.
  auto all = torch::zeros({ranks.size(), count, D + 2}, x_ND.options());
  auto own = all[ranks.rank()].slice(0, 0, mine);
  own.slice(1, 0, D).copy_(x_ND.index_select(0, place_M));
  own.select(1, D).copy_(order_N.index_select(0, place_M));
  own.select(1, D + 1).fill_(1);
  ranks.all_reduce_sum(all);
  const auto rows = all.view({-1, D + 2});
  const auto there = rows.index_select(0, rows.select(1, D + 1).nonzero().squeeze(1));
  return there.index_select(0, there.select(1, D).argsort().slice(0, 0, count)).slice(1, 0, D);
}

/// K of the rows, far from each other: each is the one whose nearest among those before is
/// farthest.
Tensor spread(const Tensor& rows_MD, int64_t clusters) {
  std::vector<int64_t> chosen = {0};
  auto nearest_M = rows_MD.mv(rows_MD[0]);
  while (static_cast<int64_t>(chosen.size()) < clusters) {
    chosen.push_back(nearest_M.argmin().item<int64_t>());
    nearest_M = torch::maximum(nearest_M, rows_MD.mv(rows_MD[chosen.back()]));
    for (const auto row : chosen) nearest_M[row] = 2;  // not again
  }
  return rows_MD.index_select(0, torch::tensor(chosen, torch::kInt64));
}

}  // namespace

Tensor spherical_kmeans(const Tensor& x_ND, const Tensor& order_N, int64_t clusters,
                        Communicator& ranks) {
  const torch::NoGradGuard no_grad;
  const auto given_ND = x_ND.to(torch::kCPU, torch::kFloat64);
  const auto length_N = given_ND.norm(2, 1);
  const auto there_N = (length_N > 0).nonzero().squeeze(1);
  const auto unit_ND =
      given_ND.index_select(0, there_N) / length_N.index_select(0, there_N).unsqueeze(1);
  const auto begin_MD =
      first_rows(unit_ND, order_N.to(torch::kCPU, torch::kFloat64).index_select(0, there_N),
                 kCandidates * clusters, ranks);
  EVOMOE_CHECK(begin_MD.size(0) >= clusters,
               "k-means cannot find {} directions in {} tokens; make the batch of an update larger",
               clusters, begin_MD.size(0));
  auto centroid_KD = spread(begin_MD, clusters);
  const auto D = x_ND.size(1);
  Tensor before_N;
  for (int64_t round = 0; round < kMostRounds; ++round) {
    const auto nearest_N = unit_ND.mm(centroid_KD.t()).argmax(1);
    double moved = before_N.defined() ? (nearest_N != before_N).sum().item<double>() : 1;
    ranks.all_reduce_sum(moved);
    if (moved == 0) break;
    before_N = nearest_N;
    auto sum_KD = torch::zeros({clusters, D}, unit_ND.options()).index_add(0, nearest_N, unit_ND);
    ranks.all_reduce_sum(sum_KD);
    const auto sum_K1 = sum_KD.norm(2, 1, /*keepdim=*/true);
    centroid_KD = torch::where(sum_K1 > 0, sum_KD / sum_K1, centroid_KD);
  }
  return centroid_KD;
}

}  // namespace evomoe
