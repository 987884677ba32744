#pragma once

#include "evomoe/routing/router.h"

namespace evomoe {

class OptionTable;

struct ExpertChoiceOptions {
  double factor = 2.0;  ///< experts per token on average

  void describe(OptionTable& table);
};

/// Expert choice (arXiv 2202.09368): each expert takes the round(factor * T / E) tokens of the
/// micro-batch to which the softmax over experts gives it the largest probability, which is the
/// weight. A token has from none to all experts. Experts are balanced without a loss. What a token
/// gets depends on all others, behind it too: for masked language models and encoders.
class ExpertChoiceRouter : public Router {
 public:
  /// UsageError: a factor that is not above 0 and at most E.
  ExpertChoiceRouter(RouterShape shape, ExpertChoiceOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  std::string sees_future() const override {
    return "each expert takes the tokens that suit it best out of all, those behind a token "
           "included";
  }

 private:
  ExpertChoiceOptions options_;
};

}  // namespace evomoe
