#include "evomoe/run/router_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "evomoe/train/criterion.h"

namespace evomoe {

void RouterWatch::add(const std::vector<std::pair<int64_t, RouterStats>>& routers) {
  layers_.resize(routers.size());
  for (size_t i = 0; i < routers.size(); ++i) {
    auto& layer = layers_[i];
    const auto load_E = routers[i].second.load_E.to(torch::kCPU, torch::kInt64).contiguous();
    const auto experts = static_cast<size_t>(load_E.numel());
    // A spawn is a new beginning.
    if (layer.load_E.size() != experts) layer = {routers[i].first, std::vector<int64_t>(experts)};
    const auto* load = load_E.data_ptr<int64_t>();
    for (size_t e = 0; e < experts; ++e) layer.load_E[e] += load[e];
  }
}

std::vector<RouterFinding> RouterWatch::end_interval() {
  std::vector<RouterFinding> findings;
  for (auto& layer : layers_) {
    auto& load_E = layer.load_E;
    const auto busiest = std::max_element(load_E.begin(), load_E.end());
    const auto total = static_cast<double>(std::reduce(load_E.begin(), load_E.end(), int64_t{0}));
    if (total == 0) continue;
    RouterFinding finding;
    finding.layer = layer.number;
    finding.experts = static_cast<int64_t>(load_E.size());
    finding.dead = std::count(load_E.begin(), load_E.end(), 0);
    finding.busiest = busiest - load_E.begin();
    finding.busiest_share = static_cast<double>(*busiest) / total;
    finding.collapsed = 2 * finding.dead > finding.experts ||
                        (finding.busiest_share > 0.5 &&
                         finding.busiest_share * static_cast<double>(finding.experts) > 1.8);
    const int before = layer.bad_intervals;
    layer.bad_intervals = finding.collapsed ? before + 1 : 0;
    const bool recovered = !finding.collapsed && before >= kIntervals;
    if (layer.bad_intervals == kIntervals || recovered) findings.push_back(finding);
    std::fill(load_E.begin(), load_E.end(), 0);
  }
  return findings;
}

namespace {

/// What balances the loads of a run, in words that go on "...; ".
std::string remedy(const CriterionOptions& criterion) {
  const auto kind = criterion_kind(criterion.criterion);
  if (kind.gate == CriterionKind::Gate::kLoss) {
    return fmt::format("raise --moe-gate-loss-wt (now {}) or lower --lr",
                       criterion.moe_gate_loss_wt);
  }
  using Inner = CriterionKind::Inner;
  const bool adaptive = criterion.criterion == "adaptive_loss";
  const auto balanced = kind.inner == Inner::kMaskedLm        ? "moe_masked_lm"
                        : kind.inner == Inner::kLabelSmoothed ? "moe_label_smoothed_cross_entropy"
                        : kind.inner == Inner::kCrossEntropy && !adaptive ? "moe_cross_entropy"
                                                                          : "";
  if (*balanced == '\0')
    return fmt::format("lower --lr (--criterion {} has no loss for balance)", criterion.criterion);
  return fmt::format(
      "--criterion {} has no loss for balance: use {} with --moe-gate-loss-wt 0.01, or lower --lr",
      criterion.criterion, balanced);
}

}  // namespace

std::string finding_text(const RouterFinding& finding, const TrainOptions& options) {
  const auto loads =
      fmt::format("expert {} has {:.0f} % of the load, {} of {} experts have none", finding.busiest,
                  100 * finding.busiest_share, finding.dead, finding.experts);
  if (!finding.collapsed)
    return fmt::format("the router of layer {} has recovered: {}", finding.layer, loads);
  return fmt::format("the router of layer {} has collapsed, for {} log intervals now: {}; {}",
                     finding.layer, RouterWatch::kIntervals, loads, remedy(options.criterion));
}

}  // namespace evomoe
