#include "evomoe/routing/assignment.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace evomoe {
namespace {

/// Finite, in float32 or float64.
torch::Tensor finite_scores(const torch::Tensor& score_TE) {
  auto score = score_TE.detach();
  if (score.scalar_type() != torch::kFloat64) score = score.to(torch::kFloat32);
  const auto finite_TE = torch::isfinite(score);
  if (finite_TE.all().item<bool>()) return score;
  const auto least = finite_TE.any().item<bool>() ? score.masked_select(finite_TE).min()
                                                  : torch::zeros({}, score.options());
  return torch::where(finite_TE, score, least);
}

/// One token after the other goes to the expert where it adds most; a full expert passes one of its
/// tokens on, along the path that costs least (successive shortest paths over the E experts).
class PathAssignment {
 public:
  PathAssignment(const double* score_TE, int64_t T, int64_t E)
      : score_TE_(score_TE),
        E_(static_cast<size_t>(E)),
        capacity_(static_cast<size_t>((T + E - 1) / E)),
        expert_T_(static_cast<size_t>(T)),
        tokens_E_(E_),
        step_EE_(E_ * E_),
        moved_EE_(E_ * E_) {}

  std::vector<int64_t> run() {
    for (size_t t = 0; t < expert_T_.size(); ++t) insert(t);
    return {expert_T_.begin(), expert_T_.end()};
  }

 private:
  static constexpr double kFar = std::numeric_limits<double>::infinity();

  double score(size_t t, size_t e) const { return score_TE_[t * E_ + e]; }

  /// What it costs at least to move a token of expert e to each other one.
  void measure_steps(size_t e) {
    for (size_t to = 0; to < E_; ++to) step_EE_[e * E_ + to] = kFar;
    for (const auto t : tokens_E_[e]) {
      for (size_t to = 0; to < E_; ++to) {
        const double cost = score(t, e) - score(t, to);
        if (cost >= step_EE_[e * E_ + to]) continue;
        step_EE_[e * E_ + to] = cost;
        moved_EE_[e * E_ + to] = t;
      }
    }
  }

  void insert(size_t t) {
    std::vector<double> distance_E(E_);
    std::vector<size_t> before_E(E_, E_);  // E: the new token itself comes here
    for (size_t e = 0; e < E_; ++e) distance_E[e] = -score(t, e);
    for (bool better = true; better;) {
      better = false;
      for (size_t e = 0; e < E_; ++e) {
        if (tokens_E_[e].size() < capacity_) continue;  // a path ends where there is room
        for (size_t to = 0; to < E_; ++to) {
          const double distance = distance_E[e] + step_EE_[e * E_ + to];
          if (!(distance < distance_E[to] - 1e-12)) continue;
          distance_E[to] = distance;
          before_E[to] = e;
          better = true;
        }
      }
    }
    size_t to = E_;
    for (size_t e = 0; e < E_; ++e) {
      if (tokens_E_[e].size() < capacity_ && (to == E_ || distance_E[e] < distance_E[to])) to = e;
    }
    std::vector<size_t> changed{to};
    for (size_t from = before_E[to]; from != E_; to = from, from = before_E[to]) {
      const auto moved = moved_EE_[from * E_ + to];
      std::erase(tokens_E_[from], moved);
      put(moved, to);
      changed.push_back(from);
    }
    put(t, to);
    for (const auto e : changed) measure_steps(e);
  }

  void put(size_t t, size_t e) {
    tokens_E_[e].push_back(t);
    expert_T_[t] = static_cast<int64_t>(e);
  }

  const double* score_TE_;
  size_t E_, capacity_;
  std::vector<int64_t> expert_T_;
  std::vector<std::vector<size_t>> tokens_E_;
  std::vector<double> step_EE_;
  std::vector<size_t> moved_EE_;
};

/// The auction for E | T; undefined when it does not come to an end.
torch::Tensor auction(const torch::Tensor& score_TE) {
  const auto T = score_TE.size(0), E = score_TE.size(1), q = T / E;
  const auto index = torch::dtype(torch::kInt64).device(score_TE.device());
  const auto score_ET = score_TE.t().contiguous();
  const auto most = score_ET.max();
  const auto epsilon = ((most - score_ET.min()) / 50).clamp_min(1e-4);
  auto value_ET = score_ET.clone();
  auto price_T = torch::zeros({T}, score_ET.options());
  torch::Tensor held_A;  // places in [E,T] of the bids that won
  constexpr int64_t kExactRounds = 100, kMostRounds = 2000;
  for (int64_t round = 0; round < kMostRounds; ++round) {
    const auto [best_EQ, token_EQ] = value_ET.topk(q + 1, /*dim=*/1);
    const auto wanted_EQ = token_EQ.slice(1, 0, q);
    // Each expert bids for its q best tokens what they are worth beyond the next one.
    auto bid_ET = torch::zeros_like(score_ET);
    bid_ET.scatter_(1, wanted_EQ, best_EQ.slice(1, 0, q) - best_EQ.slice(1, q, q + 1) + epsilon);
    if (round > 0 && round < kExactRounds)
      bid_ET.view(-1).index_fill_(0, held_A, epsilon.item<double>());
    const auto [high_T, bidder_T] = bid_ET.max(/*dim=*/0);
    const auto has_bid_T = high_T > 0;
    if (has_bid_T.all().item<bool>()) {
      auto expert_T = torch::full({T}, -1, index);
      expert_T.scatter_(0, wanted_EQ.reshape(-1), torch::arange(E, index).repeat_interleave(q));
      // Where a token is wanted twice another has no expert.
      return expert_T.min().item<int64_t>() < 0 ? torch::Tensor() : expert_T;
    }
    price_T = price_T + high_T;
    value_ET = score_ET - price_T;
    held_A = (torch::arange(T, index) + bidder_T * T).masked_select(has_bid_T);
    if (round < kExactRounds) {
      value_ET.view(-1).index_fill_(0, held_A, most.item<double>());
    } else {
      value_ET.view(-1).index_copy_(0, held_A, score_ET.view(-1).index_select(0, held_A));
    }
  }
  return {};
}

}  // namespace

torch::Tensor optimal_assignment(const torch::Tensor& score_TE) {
  const auto score = finite_scores(score_TE).to(torch::kCPU, torch::kFloat64).contiguous();
  PathAssignment assignment(score.data_ptr<double>(), score.size(0), score.size(1));
  return torch::tensor(assignment.run(), torch::kInt64).to(score_TE.device());
}

torch::Tensor auction_assignment(const torch::Tensor& score_TE) {
  const auto T = score_TE.size(0), E = score_TE.size(1);
  const auto options = torch::dtype(torch::kInt64).device(score_TE.device());
  if (T == 0 || E == 1) return torch::zeros({T}, options);
  auto score = finite_scores(score_TE);
  // Rows that fill the last places, all the same to every expert.
  if (const auto missing = (E - T % E) % E; missing > 0)
    score = torch::cat({score, score.min().expand({missing, E})});
  const auto expert_T = auction(score);
  return expert_T.defined() ? expert_T.slice(0, 0, T) : optimal_assignment(score_TE);
}

}  // namespace evomoe
