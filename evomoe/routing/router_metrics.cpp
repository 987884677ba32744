#include "evomoe/routing/router_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "evomoe/base/error.h"

namespace evomoe {
namespace {

std::vector<int64_t> to_vector(const torch::Tensor& values) {
  const auto copy = values.to(torch::kCPU, torch::kInt64).contiguous();
  const auto* data = copy.data_ptr<int64_t>();
  return {data, data + copy.numel()};
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0.0; }

void measure_load(RouterMetrics& metrics) {
  auto sorted_E = metrics.load_E;
  std::sort(sorted_E.begin(), sorted_E.end());
  const auto num_experts = static_cast<double>(sorted_E.size());
  const auto total =
      static_cast<double>(std::accumulate(sorted_E.begin(), sorted_E.end(), int64_t{0}));
  metrics.load_min = sorted_E.front();
  metrics.load_max = sorted_E.back();
  metrics.dead_experts = std::count(sorted_E.begin(), sorted_E.end(), 0);
  if (total == 0) return;
  const double mean = total / num_experts;
  double square = 0;
  for (const auto load : sorted_E) {
    const double difference = static_cast<double>(load) - mean;
    square += difference * difference;
  }
  metrics.load_cv = std::sqrt(square / num_experts) / mean;
  metrics.max_violation = static_cast<double>(metrics.load_max) / mean - 1;
}

}  // namespace

RouterMetrics router_metrics(const RouterStats& stats) {
  EVOMOE_CHECK(stats.load_E.defined() && stats.load_E.size(0) > 0,
               "router statistics are empty: no forward pass was recorded");
  RouterMetrics metrics;
  metrics.tokens = stats.tokens;
  metrics.load_E = to_vector(stats.load_E);
  measure_load(metrics);
  const auto tokens = static_cast<double>(stats.tokens);
  const auto assignments = static_cast<double>(
      std::accumulate(metrics.load_E.begin(), metrics.load_E.end(), int64_t{0}));
  metrics.mean_active = share(assignments, tokens);
  metrics.token_entropy = share(stats.entropy_sum.item<double>(), tokens);
  metrics.dropped_share = share(stats.dropped.item<double>(), assignments);
  metrics.non_argmax_share = share(stats.non_argmax.item<double>(), tokens);
  const auto active_E1 = to_vector(stats.active_E1);
  metrics.unrouted_share = share(static_cast<double>(active_E1.front()), tokens);
  return metrics;
}

}  // namespace evomoe
