#pragma once

#include "evomoe/routing/router.h"

namespace evomoe {

/// GShard (arXiv 2006.16668) top-2 as the authors' code has it: the most probable expert, and a
/// second one that is sampled with Gumbel noise (`sampling`), kept at random (`random`) or always
/// the runner-up (`all`). In evaluation no noise is drawn: every policy then behaves as `all`.
class GshardRouter : public Router {
 public:
  explicit GshardRouter(RouterOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Evaluation: ceil(fraction * rows) when the fraction is > 0; else 2 * ceil(rows / E). The
  /// training factor does not enter, but a factor <= 0 means dropless here too.
  std::optional<int64_t> capacity(int64_t num_rows, bool training) const override;
  int64_t most_experts_per_token() const override { return 2; }
};

}  // namespace evomoe
