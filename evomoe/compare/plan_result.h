#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/compare/loss_curve.h"
#include "evomoe/compare/plan_runs.h"
#include "evomoe/compare/plan_search.h"
#include "evomoe/report/table.h"

namespace evomoe {

/// A method's runs of one length, those that have not diverged, on average.
struct PlanMean {
  double length = 0;
  double perplexity = 0, loss = 0;  ///< nats of a token
  PlanCost cost;
};

/// What a method needs to come down to a perplexity, through the lengths of the plan.
struct CostToReach {
  std::optional<PlanCost> cost;  ///< nothing: it did not come so far
  bool at_once = false;          ///< the shortest length was enough: the numbers are its own
};

/// A method beside the baseline with the same seeds and length. Differences are of the logarithms
/// of perplexities, so -0.01 is one per cent less.
struct PairedDifference {
  std::string method;
  double length = 0;
  std::vector<double> differences;  ///< one a seed

  double mean() const;
  /// Student's t; nothing with fewer than two seeds, or when all differences are equal.
  std::optional<double> t() const;
  /// What |t| must exceed at the 5 % level (two-sided).
  double critical_t() const;
  /// The whole in a sentence. `after`: "2000 updates".
  std::string sentence(const std::string& baseline, const std::string& after) const;
};

/// How much more the baseline would need for the loss that a method has come to, by the baseline's
/// fitted curve, as a multiple of what the method took.
struct SpeedUp {
  std::string method;
  PlanMean mean;
  struct Multiple {
    std::optional<double> value;  ///< nothing: no cost is enough
    bool extrapolated = false;    ///< beyond the lengths that the curve is fitted to
  };
  std::array<Multiple, kPlanMeasures.size()> multiples;
};

/// The result of a plan.
class PlanResult {
 public:
  /// Reads the logs of the complete runs. `searches`: those that chose the settings.
  PlanResult(const ComparePlan& plan, std::vector<RunOutcome> outcomes,
             std::vector<MethodSearch> searches = {});

  const std::vector<PlanPoint>& points() const { return points_; }
  /// The mean perplexity of the baseline's longest runs; nothing: none is complete.
  std::optional<double> target() const;
  CostToReach cost_to_reach(const std::string& method, double perplexity) const;
  std::vector<PairedDifference> differences() const;
  /// The baseline's curves by the measures of cost; nothing: it has fewer than two lengths, or its
  /// loss does not fall.
  std::array<std::optional<LossCurve>, kPlanMeasures.size()> curves() const;
  /// Of each method but the baseline and each length; empty where there is no curve.
  std::vector<SpeedUp> speed_ups() const;

  /// What was searched, a row for each method and length, then what each needs to reach the target,
  /// speed-ups, sentences and the runs that failed.
  std::string text(bool utf8) const;
  nlohmann::ordered_json json() const;
  /// A line for each run.
  std::string csv() const;

 private:
  /// By length.
  std::vector<PlanMean> means_of(const std::string& method) const;
  Table rows_table(bool utf8) const;
  Table reach_table() const;
  std::string speed_up_text() const;
  std::string search_text() const;
  nlohmann::ordered_json search_json() const;

  const ComparePlan& plan_;
  std::vector<MethodSearch> searches_;
  std::vector<RunOutcome> outcomes_;
  std::vector<PlanPoint> points_;
};

}  // namespace evomoe
