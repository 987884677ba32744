#pragma once

#include <optional>
#include <utility>
#include <vector>

namespace evomoe {

/// The loss of a method as a function of what its runs take, fitted to runs of several lengths.
struct LossCurve {
  /// a + b C^-c, with a at least 0; c is nothing for a - b ln C, the form of two lengths.
  double a = 0, b = 0;
  std::optional<double> c;
  double least = 0, most = 0;  ///< the costs that it is fitted to
  double error = 0;            ///< root mean square of what remains

  double loss(double cost) const;
  /// What it takes to come down to a loss; nothing: no cost is enough.
  std::optional<double> cost(double loss) const;
  bool extrapolates(double cost) const { return cost < least || cost > most; }
};

/// The curve of least squares through (cost, loss): a power law through three lengths or more, a
/// line over the logarithm of the cost through two. Nothing: there are fewer, or the loss does not
/// fall.
std::optional<LossCurve> fit_loss_curve(const std::vector<std::pair<double, double>>& points);

}  // namespace evomoe
