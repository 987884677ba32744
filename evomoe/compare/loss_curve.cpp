#include "evomoe/compare/loss_curve.h"

#include <algorithm>
#include <cmath>

namespace evomoe {
namespace {

using Points = std::vector<std::pair<double, double>>;

/// The exponents that are tried: below, a power law can hardly be told from a logarithm; above, it
/// has come down to its floor between two lengths.
constexpr double kLeastExponent = 0.01, kLargestExponent = 4;
constexpr int kExponents = 400;

/// The line of least squares y = a + b x.
std::pair<double, double> line(const Points& points) {
  const auto count = static_cast<double>(points.size());
  double x = 0, y = 0;
  for (const auto& [px, py] : points) {
    x += px / count;
    y += py / count;
  }
  double xx = 0, xy = 0;
  for (const auto& [px, py] : points) {
    xx += (px - x) * (px - x);
    xy += (px - x) * (py - y);
  }
  const double slope = xx > 0 ? xy / xx : 0;
  return {y - slope * x, slope};
}

void measure_error(LossCurve& curve, const Points& points) {
  double squares = 0;
  for (const auto& [cost, loss] : points) squares += std::pow(curve.loss(cost) - loss, 2);
  curve.error = std::sqrt(squares / static_cast<double>(points.size()));
}

/// The best one with the exponent c.
LossCurve power_law(const Points& points, double c) {
  // In parts of the largest cost, so that powers stay near 1.
  const double most = points.back().first;
  Points powers;
  for (const auto& [cost, loss] : points) powers.emplace_back(std::pow(cost / most, -c), loss);
  auto [a, b] = line(powers);
  if (a < 0) {
    double xx = 0, xy = 0;
    for (const auto& [x, y] : powers) {
      xx += x * x;
      xy += x * y;
    }
    a = 0;
    b = xy / xx;
  }
  LossCurve curve{.a = a, .b = b * std::pow(most, c), .c = c};
  measure_error(curve, points);
  return curve;
}

LossCurve best_power_law(const Points& points) {
  const auto exponent = [](double step) {
    return kLeastExponent * std::pow(kLargestExponent / kLeastExponent, step / kExponents);
  };
  LossCurve best = power_law(points, exponent(0));
  double at = 0;
  for (int i = 1; i <= kExponents; ++i) {
    const auto curve = power_law(points, exponent(i));
    if (curve.error < best.error) {
      best = curve;
      at = i;
    }
  }
  // Between its neighbours, by thirds.
  double low = std::max(at - 1, 0.0), high = std::min(at + 1, static_cast<double>(kExponents));
  for (int i = 0; i < 100; ++i) {
    const double one = low + (high - low) / 3, two = high - (high - low) / 3;
    if (power_law(points, exponent(one)).error < power_law(points, exponent(two)).error) {
      high = two;
    } else {
      low = one;
    }
  }
  const auto refined = power_law(points, exponent((low + high) / 2));
  return refined.error < best.error ? refined : best;
}

}  // namespace

double LossCurve::loss(double cost) const {
  return c ? a + b * std::pow(cost, -*c) : a - b * std::log(cost);
}

std::optional<double> LossCurve::cost(double loss) const {
  if (!c) return std::exp((a - loss) / b);
  if (loss <= a) return std::nullopt;
  return std::pow((loss - a) / b, -1 / *c);
}

std::optional<LossCurve> fit_loss_curve(const Points& points) {
  auto sorted = points;
  std::ranges::sort(sorted);
  size_t lengths = 0;
  for (size_t i = 0; i < sorted.size(); ++i)
    lengths += i == 0 || sorted[i].first > sorted[i - 1].first ? 1 : 0;
  if (lengths < 2 || sorted.front().first <= 0) return std::nullopt;
  LossCurve curve;
  if (lengths >= 3) {
    curve = best_power_law(sorted);
  } else {
    Points logarithms;
    for (const auto& [cost, loss] : sorted) logarithms.emplace_back(std::log(cost), loss);
    const auto [a, slope] = line(logarithms);
    curve = {.a = a, .b = -slope};
    measure_error(curve, sorted);
  }
  if (!(curve.b > 0)) return std::nullopt;
  curve.least = sorted.front().first;
  curve.most = sorted.back().first;
  return curve;
}

}  // namespace evomoe
