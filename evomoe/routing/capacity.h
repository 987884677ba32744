#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "evomoe/routing/routing.h"

namespace evomoe {

/// Keeps at most `capacity` assignments of every expert; a filter over any Routing.
/// - "position": the first ones in order of priority_A, or of tokens where that is undefined
/// (Switch, GShard);
/// - "probs": the largest combine weights; ties go to the earlier token.
/// Then divides the weights of a token by their sum where normalize_after_drop asks for it. Adds
/// the dropped assignments to stats.dropped and sets stats.assignments: call it once per routing,
/// and not at all when dropless. Errors: capacity < 0; an unknown policy.
Routing apply_capacity(Routing routing, int64_t capacity, const std::string& policy);

/// The place of each assignment in its expert's queue, int64 [A]: 0, 1, ... in order of priority_A,
/// or of tokens.
torch::Tensor slots(const Routing& routing);

}  // namespace evomoe
