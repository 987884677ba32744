#include "evomoe/generate/token_candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "evomoe/kernels/parallel_for.h"

namespace evomoe {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

/// A later token never displaces an equal one, so ties go to the lower.
std::vector<TokenCandidate> best_of_row(const float* row, int64_t size, int64_t count) {
  std::vector<TokenCandidate> best;
  best.reserve(static_cast<size_t>(count) + 1);
  float bar = kNone;  // what a token must exceed
  for (int64_t token = 0; token < size; ++token) {
    if (!(row[token] > bar)) continue;
    const auto place =
        std::upper_bound(best.begin(), best.end(), row[token],
                         [](float value, const auto& c) { return value > c.log_probability; });
    best.insert(place, {token, row[token]});
    if (static_cast<int64_t>(best.size()) > count) best.pop_back();
    if (static_cast<int64_t>(best.size()) == count) bar = best.back().log_probability;
  }
  return best;
}

}  // namespace

torch::Tensor tempered(const torch::Tensor& log_probability_NV, double temperature) {
  if (temperature == 1.0) return log_probability_NV;
  return torch::log_softmax(log_probability_NV / temperature, 1);
}

std::vector<std::vector<TokenCandidate>> best_tokens(const torch::Tensor& log_probability_NV,
                                                     int64_t count) {
  const auto rows = log_probability_NV.size(0), size = log_probability_NV.size(1);
  count = std::min(count, size);
  std::vector<std::vector<TokenCandidate>> best(static_cast<size_t>(rows));
  if (log_probability_NV.is_cpu()) {
    const auto values = log_probability_NV.contiguous();
    const auto* value = values.const_data_ptr<float>();
    kernels::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      for (auto row = begin; row < end; ++row)
        best[static_cast<size_t>(row)] = best_of_row(value + row * size, size, count);
    });
    return best;
  }
  // Only the best tokens are taken from the GPU, and ordered here.
  auto [top_NK, token_NK] = log_probability_NV.topk(count, 1);
  top_NK = top_NK.cpu().contiguous();
  token_NK = token_NK.cpu().contiguous();
  for (int64_t row = 0; row < rows; ++row) {
    auto& of_row = best[static_cast<size_t>(row)];
    for (int64_t k = 0; k < count; ++k) {
      const auto at = row * count + k;
      const TokenCandidate candidate{token_NK.const_data_ptr<int64_t>()[at],
                                     top_NK.const_data_ptr<float>()[at]};
      if (candidate.log_probability > kNone) of_row.push_back(candidate);
    }
    std::sort(of_row.begin(), of_row.end(), [](const auto& a, const auto& b) {
      if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
      return a.token < b.token;
    });
  }
  return best;
}

TokenCandidate sampled_token(const torch::Tensor& log_probability_V, int64_t top_k, double top_p,
                             double u) {
  const auto row = log_probability_V.contiguous();
  const auto size = row.size(0);
  const auto* value = row.const_data_ptr<float>();
  const auto mass_of = [&](int64_t token) { return std::exp(static_cast<double>(value[token])); };
  const auto mass_of_all = [&](const std::vector<int64_t>& tokens) {
    double mass = 0;
    for (const auto token : tokens) mass += mass_of(token);
    return mass;
  };
  std::vector<int64_t> kept;
  if (top_k > 0) {
    for (const auto& candidate : best_of_row(value, size, std::min(top_k, size)))
      kept.push_back(candidate.token);
  } else {
    kept.resize(static_cast<size_t>(size));
    std::iota(kept.begin(), kept.end(), 0);
  }
  if (top_p > 0) {
    std::stable_sort(kept.begin(), kept.end(),
                     [&](int64_t a, int64_t b) { return value[a] > value[b]; });
    const double enough = top_p * mass_of_all(kept);
    double mass = 0;
    size_t count = 0;
    while (count < kept.size() && mass < enough) mass += mass_of(kept[count++]);
    kept.resize(count);
  }
  const double total = mass_of_all(kept);
  double below = 0;
  TokenCandidate last{-1, kNone};
  for (const auto token : kept) {
    if (value[token] == kNone) continue;
    last = {token, value[token]};
    below += mass_of(token);
    if (below > u * total) break;
  }
  return last;
}

}  // namespace evomoe
