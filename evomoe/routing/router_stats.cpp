#include "evomoe/routing/router_stats.h"

#include <algorithm>

#include "evomoe/base/error.h"
#include "evomoe/routing/epsilon.h"

namespace evomoe {
namespace {

void add(torch::Tensor& total, const torch::Tensor& part) {
  if (!part.defined()) return;
  total = total.defined() ? total + part : part;
}

}  // namespace

torch::Tensor entropy_T(const torch::Tensor& probability_TE) {
  const torch::NoGradGuard no_grad;
  const double smallest = epsilon(probability_TE.scalar_type());
  return -(probability_TE * probability_TE.clamp(smallest, 1 - smallest).log()).sum(1);
}

torch::Tensor mean_entropy(const torch::Tensor& probability_TE) {
  return entropy_T(probability_TE).sum() / std::max<int64_t>(probability_TE.size(0), 1);
}

void record_stats(Routing& routing, const torch::Tensor& selected_TE,
                  const torch::Tensor& probability_TE, const torch::Tensor& valid_T) {
  const torch::NoGradGuard no_grad;
  const int64_t num_experts = selected_TE.size(1);
  auto& stats = routing.stats;
  auto counted_TE = selected_TE;
  auto entropy = entropy_T(probability_TE);
  auto active_T = selected_TE.sum(1);
  const auto is_argmax_T =
      selected_TE.gather(1, probability_TE.argmax(1, /*keepdim=*/true)).squeeze(1);
  auto strays_T = (active_T == 1).logical_and_(is_argmax_T.logical_not());
  if (valid_T.defined()) {
    counted_TE = selected_TE.logical_and(valid_T.unsqueeze(1));
    entropy = entropy.masked_select(valid_T);
    active_T = active_T.masked_select(valid_T);
    strays_T = strays_T.logical_and_(valid_T);
  }
  stats.tokens = active_T.size(0);
  stats.load_E = counted_TE.sum(0);
  stats.active_E1 = torch::bincount(active_T, /*weights=*/{}, num_experts + 1);
  stats.entropy_sum = entropy.sum(torch::kFloat64);
  stats.non_argmax = strays_T.sum();
  stats.dropped = torch::zeros({}, stats.load_E.options());
  stats.assignments = routing.num_assignments();
}

std::optional<double> mean_experts_per_token(const LayerStats& layers) {
  int64_t tokens = 0, assignments = 0;
  for (const auto& [layer, stats] : layers) {
    tokens += stats.tokens;
    assignments += stats.load_E.sum().item<int64_t>();
  }
  if (tokens == 0) return std::nullopt;
  return static_cast<double>(assignments) / static_cast<double>(tokens);
}

RouterStats& RouterStats::operator+=(const RouterStats& other) {
  EVOMOE_CHECK(
      !load_E.defined() || !other.load_E.defined() || load_E.sizes() == other.load_E.sizes(),
      "router statistics of {} and of {} experts cannot be added: they belong to different "
      "layers or stages",
      load_E.size(0), other.load_E.size(0));
  add(load_E, other.load_E);
  add(active_E1, other.active_E1);
  add(entropy_sum, other.entropy_sum);
  add(dropped, other.dropped);
  add(non_argmax, other.non_argmax);
  add(of_method, other.of_method);
  add(output_sum_ED1, other.output_sum_ED1);
  tokens += other.tokens;
  assignments += other.assignments;
  for (const auto& metric : other.reference) {
    const auto found = std::find_if(reference.begin(), reference.end(),
                                    [&](const auto& known) { return known.first == metric.first; });
    if (found == reference.end()) {
      reference.push_back(metric);
    } else {
      add(found->second, metric.second);
    }
  }
  return *this;
}

}  // namespace evomoe
