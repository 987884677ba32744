#pragma once

#include "evomoe/routing/capacity.h"
#include "evomoe/routing/router.h"

namespace evomoe {

/// What becomes of a token's second expert.
struct GshardOptions {
  std::string second_expert_policy = "sampling";  ///< sampling | random | all
  /// Divides the two weights by their sum before tokens are dropped for capacity, not after.
  bool normalize_before_dropping = false;
  bool batch_prioritized = false;  ///< the surest tokens get their places first

  void describe(OptionTable& table);
  /// UsageError: an unknown policy.
  void validate() const;
};

/// GShard (arXiv 2006.16668) top-2 as the authors' code has it: the most probable expert, and a
/// second one that is sampled with Gumbel noise (`sampling`), kept at random (`random`) or always
/// the runner-up (`all`). In evaluation no noise is drawn: every policy then behaves as `all`.
class GshardRouter : public Router {
 public:
  /// UsageError: fewer than 2 experts.
  GshardRouter(RouterShape shape, CapacityOptions capacity, GshardOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Evaluation: ceil(fraction * rows) when the fraction is > 0; else 2 * ceil(rows / E). The
  /// training factor does not enter, but a factor <= 0 means dropless here too.
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;
  int64_t most_experts_per_token() const override { return 2; }
  /// The capacity in training is fixed, or none.
  std::vector<std::string> unused_options() const override {
    return {"moe-train-capacity-token-fraction"};
  }

 private:
  CapacityOptions capacity_;
  GshardOptions options_;
};

}  // namespace evomoe
