#include "evomoe/compare/plan_point.h"

#include "evomoe/report/run_history.h"

namespace evomoe {

PlanPoint read_plan_point(const ComparePlan& plan, const PlannedRun& run) {
  const auto history = read_run_history((plan.folder / run.name()).string());
  const auto last = validation_points(history, plan.subset).back();
  PlanPoint point{.run = run,
                  .perplexity = last.perplexity,
                  .cost = {.updates = static_cast<double>(last.updates),
                           .tokens = last.tokens,
                           .flops = last.flops,
                           .seconds = last.seconds},
                  .active_experts = {},
                  .max_violation = {}};
  for (const auto& training : training_points(history)) {
    if (training.active_experts) point.active_experts = training.active_experts;
    if (training.max_violation) point.max_violation = training.max_violation;
  }
  return point;
}

}  // namespace evomoe
