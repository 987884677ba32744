#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/compare/plan_point.h"

namespace evomoe {

/// A run that tried a setting.
struct SearchTrial {
  size_t setting = 0;  ///< of ComparePlan::search
  double length = 0;
  std::optional<double> perplexity;  ///< nothing: it has failed, or diverged
  std::string failure;
};

/// What the search for a method's setting has tried and found.
struct MethodSearch {
  std::string method;
  std::vector<SearchTrial> trials;
  PlanCost cost;                 ///< of all trials
  std::optional<size_t> chosen;  ///< nothing: no trial of the last round has an end
};

/// Tries the settings of a plan by successive halving (arXiv 1502.07943): all of a method's by
/// short runs, the better half of them by runs twice as long, and so on; the last two by the plan's
/// shortest length. All with the seed kSearchSeed, which no run of the plan has. Runs that are
/// complete are not made again. Errors: those of make_runs().
std::vector<MethodSearch> search_settings(const ComparePlan& plan, int64_t jobs);

}  // namespace evomoe
