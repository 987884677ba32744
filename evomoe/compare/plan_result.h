#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/compare/plan_runs.h"
#include "evomoe/report/table.h"

namespace evomoe {

/// What a complete run has come to.
struct PlanPoint {
  PlannedRun run;
  double perplexity = 0;  ///< NaN: it has diverged
  double seconds = 0, tokens = 0, flops = 0;
  std::optional<double> active_experts, max_violation;
};

/// What a method needs to come down to a perplexity, through the lengths of the plan.
struct CostToReach {
  std::optional<double> updates, tokens, flops, seconds;  ///< nothing: it did not come so far
  bool at_once = false;  ///< the shortest length was enough: the numbers are its own
};

/// A method beside the baseline with the same seeds and length. Differences are of the logarithms
/// of perplexities, so -0.01 is one per cent less.
struct PairedDifference {
  std::string method;
  int64_t updates = 0;
  std::vector<double> differences;  ///< one a seed

  double mean() const;
  /// Student's t; nothing with fewer than two seeds, or when all differences are equal.
  std::optional<double> t() const;
  /// What |t| must exceed at the 5 % level (two-sided).
  double critical_t() const;
  /// The whole in a sentence.
  std::string sentence(const std::string& baseline) const;
};

/// The result of a plan.
class PlanResult {
 public:
  /// Reads the logs of the complete runs.
  PlanResult(const ComparePlan& plan, std::vector<RunOutcome> outcomes);

  const std::vector<PlanPoint>& points() const { return points_; }
  /// The mean perplexity of the baseline's longest runs; nothing: none is complete.
  std::optional<double> target() const;
  CostToReach cost_to_reach(const std::string& method, double perplexity) const;
  std::vector<PairedDifference> differences() const;

  /// A row for each method and length, then what each needs to reach the target, then sentences and
  /// the runs that failed.
  std::string text(bool utf8) const;
  nlohmann::ordered_json json() const;
  /// A line for each run.
  std::string csv() const;

 private:
  Table rows_table(bool utf8) const;
  Table reach_table() const;

  const ComparePlan& plan_;
  std::vector<RunOutcome> outcomes_;
  std::vector<PlanPoint> points_;
};

}  // namespace evomoe
