#pragma once

#include <string>

#include "evomoe/routing/router.h"

namespace evomoe {

class OptionTable;

struct BaseOptions {
  std::string assignment = "auction";  ///< auction | optimal

  void describe(OptionTable& table);
};

/// BASE layers (arXiv 2103.16716): in training each expert gets equally many tokens of the
/// micro-batch of a rank, so that the sum of the logits is large; in evaluation each token goes to
/// the expert with its largest logit. The weight is the logit's sigmoid α. The authors' expert is
/// residual, F(x) = x + f(x), and the layer α F(x) + (1 - α) x = x + α f(x): what a block makes of
/// α f(x) here. Choices in training see later tokens, those in evaluation do not. No loss;
/// dropless.
class BaseRouter : public Router {
 public:
  /// UsageError: fewer than 2 experts.
  BaseRouter(RouterShape shape, BaseOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Orthogonal rows of length 0.1.
  void initialise(uint64_t seed, int64_t layer) override;
  int64_t most_experts_per_token() const override { return 1; }

 private:
  BaseOptions options_;
};

}  // namespace evomoe
