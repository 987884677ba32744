#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>

#include "evomoe/routing/routing.h"

namespace evomoe {

class OptionTable;

/// How many assignments an expert may take, as in the reference; of the methods that drop.
struct CapacityOptions {
  /// --moe-train-capacity-token-fraction; <= 0: dropless, in training and in evaluation.
  double train_factor = 1.0;
  /// --moe-eval-capacity-token-fraction, of all rows; <= 0: the training formula.
  double eval_fraction = 0.25;
  std::string drop_policy = "position";  ///< position | probs, of apply_capacity()

  /// The capacity in evaluation, ceil(eval_fraction * rows), or nothing when the fraction is <= 0.
  std::optional<int64_t> in_evaluation(int64_t num_rows) const;
  void describe(OptionTable& table);
  /// UsageError: a value that is not finite, a fraction above 1, an unknown policy.
  void validate() const;
};

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
