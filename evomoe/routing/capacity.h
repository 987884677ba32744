#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "evomoe/parallel/communicator.h"
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
  std::string scope = "rank";            ///< rank | global: whose tokens queue together

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

/// The same where the tokens of all ranks queue for each expert together, so that what is dropped
/// does not depend on how they are divided: first choices before second ones or by weight, then by
/// rank, then by token. `num_rows`: of this rank; `capacity`: of so many rows of all ranks.
/// `takes_part`: false: the rows count nowhere. Every rank calls it.
Routing apply_capacity_of_ranks(Routing routing, int64_t num_rows,
                                const std::function<std::optional<int64_t>(int64_t rows)>& capacity,
                                const std::string& policy, const torch::Tensor& valid_T,
                                bool takes_part, Communicator& ranks);

/// The place of each assignment in its expert's queue, int64 [A]: 0, 1, ... in order of priority_A,
/// or of tokens.
torch::Tensor slots(const Routing& routing);

}  // namespace evomoe
