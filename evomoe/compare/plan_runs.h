#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evomoe/compare/plan_file.h"

namespace evomoe {

/// What became of a run of a plan.
struct RunOutcome {
  PlannedRun run;
  std::string failure;  ///< why it has failed; empty: it is complete
};

/// Makes those of the `runs` of a plan that are not complete yet, `jobs` at once, each with its
/// share of the cores; one that was interrupted goes on. The output of each goes into
/// FOLDER/NAME.txt, and a line says when it ends. A run that fails does not stop the others. Error:
/// a signal came (the runs that were going have saved, and go on the next time); the folder holds
/// runs of another plan, or with other data; UsageError: several jobs with a budget of seconds.
std::vector<RunOutcome> make_runs(const ComparePlan& plan, const std::vector<PlannedRun>& runs,
                                  int64_t jobs);

}  // namespace evomoe
