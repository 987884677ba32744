#pragma once

#include <array>
#include <optional>
#include <utility>

#include "evomoe/compare/plan_file.h"

namespace evomoe {

/// What a run took, or several on average or together.
struct PlanCost {
  double updates = 0, tokens = 0, flops = 0, seconds = 0;
};

/// The measures of it, by the names of the result.
inline constexpr std::array<std::pair<const char*, double PlanCost::*>, 4> kPlanMeasures = {
    std::pair("updates", &PlanCost::updates), std::pair("tokens", &PlanCost::tokens),
    std::pair("flops", &PlanCost::flops), std::pair("seconds", &PlanCost::seconds)};

/// What a complete run has come to.
struct PlanPoint {
  PlannedRun run;
  double perplexity = 0;  ///< NaN: it has diverged
  PlanCost cost;
  std::optional<double> active_experts, max_violation;
};

/// Reads the log of a complete run.
PlanPoint read_plan_point(const ComparePlan& plan, const PlannedRun& run);

}  // namespace evomoe
