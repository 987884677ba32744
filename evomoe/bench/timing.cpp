#include "evomoe/bench/timing.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "evomoe/base/error.h"

namespace evomoe::bench {

double median_of(std::vector<double> values) {
  EVOMOE_CHECK(!values.empty(), "there is no median of nothing");
  std::sort(values.begin(), values.end());
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Timing::median() const { return median_of(samples_ms); }
double Timing::mean() const {
  return std::accumulate(samples_ms.begin(), samples_ms.end(), 0.0) /
         static_cast<double>(samples_ms.size());
}
double Timing::minimum() const { return *std::min_element(samples_ms.begin(), samples_ms.end()); }
double Timing::maximum() const { return *std::max_element(samples_ms.begin(), samples_ms.end()); }

double milliseconds(const std::function<void()>& action) {
  const auto begin = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

Timing measure(const std::function<void()>& action, int64_t repeats,
               const std::function<void()>& before_each, double budget_s) {
  Timing timing;
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < repeats; ++i) {
    before_each();
    timing.samples_ms.push_back(milliseconds(action));
    const double elapsed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (elapsed > budget_s && (i >= 2 || elapsed > 2 * budget_s)) break;
  }
  return timing;
}

}  // namespace evomoe::bench
