#include "evomoe/compare/plan_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "evomoe/compare/plan_runs.h"

namespace evomoe {
namespace {

/// A method's search, round by round.
class Rounds {
 public:
  Rounds(const ComparePlan& plan, const std::string& method)
      : plan_(plan), lengths_(plan.trial_lengths(plan.search.at(method).size())) {
    found_.method = method;
    left_.resize(plan.search.at(method).size());
    std::iota(left_.begin(), left_.end(), size_t{0});
    if (left_.size() == 1) found_.chosen = 0;  // there is nothing to try
  }

  size_t count() const { return lengths_.size(); }

  std::vector<PlannedRun> runs(size_t round) const {
    std::vector<PlannedRun> runs;
    for (const auto setting : left_) {
      runs.push_back({.method = found_.method,
                      .unit = plan_.unit,
                      .length = lengths_[round],
                      .seed = kSearchSeed,
                      .setting = setting,
                      .is_trial = true});
    }
    return runs;
  }

  /// What became of a round's runs: the better half goes on.
  void end_round(const std::vector<RunOutcome>& outcomes) {
    std::vector<std::pair<double, size_t>> order;
    for (const auto& [run, failure] : outcomes) {
      SearchTrial trial{
          .setting = *run.setting, .length = run.length, .perplexity = {}, .failure = failure};
      if (failure.empty()) {
        const auto point = read_plan_point(plan_, run);
        if (!std::isnan(point.perplexity)) trial.perplexity = point.perplexity;
        for (const auto& [name, member] : kPlanMeasures) found_.cost.*member += point.cost.*member;
      }
      constexpr double kWorst = std::numeric_limits<double>::infinity();
      order.emplace_back(trial.perplexity.value_or(kWorst), trial.setting);
      found_.trials.push_back(std::move(trial));
    }
    std::ranges::sort(order);
    left_.clear();
    for (const auto& [perplexity, setting] : order) {
      if (left_.size() < (order.size() + 1) / 2) left_.push_back(setting);
    }
    found_.chosen.reset();
    if (std::isfinite(order.front().first)) found_.chosen = left_.front();
  }

  const MethodSearch& found() const { return found_; }

 private:
  const ComparePlan& plan_;
  std::vector<double> lengths_;
  std::vector<size_t> left_;  ///< settings
  MethodSearch found_;
};

}  // namespace

std::vector<MethodSearch> search_settings(const ComparePlan& plan, int64_t jobs) {
  std::vector<Rounds> searches;
  size_t rounds = 0;
  for (const auto& [method, options] : plan.methods) {
    if (!plan.search.contains(method)) continue;
    rounds = std::max(rounds, searches.emplace_back(plan, method).count());
  }
  // Methods side by side, so that there is work for all jobs.
  for (size_t round = 0; round < rounds; ++round) {
    std::vector<PlannedRun> runs;
    for (const auto& search : searches) {
      if (round >= search.count()) continue;
      const auto own = search.runs(round);
      runs.insert(runs.end(), own.begin(), own.end());
    }
    const auto outcomes = make_runs(plan, runs, jobs);
    for (auto& search : searches) {
      if (round >= search.count()) continue;
      std::vector<RunOutcome> own;
      std::ranges::copy_if(outcomes, std::back_inserter(own), [&](const RunOutcome& outcome) {
        return outcome.run.method == search.found().method;
      });
      search.end_round(own);
    }
  }
  std::vector<MethodSearch> found;
  for (const auto& search : searches) found.push_back(search.found());
  return found;
}

}  // namespace evomoe
