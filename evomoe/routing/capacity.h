#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/routing/routing.h"

namespace evomoe {

/// The step after Router::route(): keeps at most `capacity` assignments of every expert (nothing:
/// no limit), a filter over any Routing.
/// - "position": the first ones in order of priority_A, or of tokens where that is undefined
/// (Switch, GShard);
/// - "probs": the largest combine weights; ties go to the earlier token.
/// Then divides the weights of a token by their sum where normalize_after_drop asks for it. Adds
/// the dropped assignments of real tokens (`valid_T` bool [T]; undefined: all are) to stats.dropped
/// and sets stats.assignments. Errors: capacity < 0; an unknown policy.
Routing apply_capacity(Routing routing, std::optional<int64_t> capacity, const std::string& policy,
                       const torch::Tensor& valid_T = {});

/// The place of each assignment in its expert's queue, int64 [A]: 0, 1, ... in order of priority_A,
/// or of tokens.
torch::Tensor slots(const Routing& routing);

}  // namespace evomoe
