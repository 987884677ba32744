#include "evomoe/score/correlation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace evomoe {
namespace {

using Numbers = std::vector<double>;

double pearson(const Numbers& x, const Numbers& y) {
  const auto mean = [](const Numbers& of) {
    return std::accumulate(of.begin(), of.end(), 0.0) / static_cast<double>(of.size());
  };
  const double mean_x = mean(x), mean_y = mean(y);
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double a = x[i] - mean_x, b = y[i] - mean_y;
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  return xx == 0 || yy == 0 ? 0.0 : xy / std::sqrt(xx * yy);
}

Numbers ranks(const Numbers& numbers) {
  std::vector<size_t> order(numbers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return numbers[a] < numbers[b]; });
  Numbers ranks(numbers.size());
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && numbers[order[end]] == numbers[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end - 1) / 2;
  }
  return ranks;
}

std::pair<Numbers, Numbers> columns(const std::vector<std::pair<float, float>>& pairs) {
  std::pair<Numbers, Numbers> columns;
  for (const auto& [first, second] : pairs) {
    columns.first.push_back(first);
    columns.second.push_back(second);
  }
  return columns;
}

}  // namespace

double matthews_correlation(const std::array<std::array<int64_t, 2>, 2>& counts) {
  const auto at = [&](size_t truth, size_t found) {
    return static_cast<double>(counts[truth][found]);
  };
  const double tn = at(0, 0), fp = at(0, 1), fn = at(1, 0), tp = at(1, 1);
  const double all = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn);
  return all == 0 ? 0.0 : (tp * tn - fp * fn) / std::sqrt(all);
}

double pearson_correlation(const std::vector<std::pair<float, float>>& pairs) {
  const auto [x, y] = columns(pairs);
  return pearson(x, y);
}

double spearman_correlation(const std::vector<std::pair<float, float>>& pairs) {
  const auto [x, y] = columns(pairs);
  const double plain = pearson(x, y);
  if (std::isnan(plain)) return plain;  // what is not finite has no rank
  return pearson(ranks(x), ranks(y));
}

}  // namespace evomoe
