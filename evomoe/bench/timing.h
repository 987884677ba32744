#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace evomoe::bench {

/// Wall-clock milliseconds of every repeat.
struct Timing {
  std::vector<double> samples_ms;

  double median() const;
  double mean() const;
  double minimum() const;
  double maximum() const;
};

/// The middle value; the mean of the two middle ones of an even number. Error when there is none.
double median_of(std::vector<double> values);

double milliseconds(const std::function<void()>& action);

/// Times `action` `repeats` times; `before_each` runs outside the clock. Past `budget_s` seconds it
/// stops after three samples (past twice that, after any).
Timing measure(
    const std::function<void()>& action, int64_t repeats,
    const std::function<void()>& before_each = [] {},
    double budget_s = std::numeric_limits<double>::infinity());

}  // namespace evomoe::bench
