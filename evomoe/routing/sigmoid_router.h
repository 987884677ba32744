#pragma once

#include <string>

#include "evomoe/routing/router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

class OptionTable;

struct SigmoidOptions {
  std::string score = "sigmoid";  ///< sigmoid | sqrtsoftplus | softmax
  double scale = 1.0;             ///< of the combine weights
  /// Groups of neighbouring experts, and from how many of them a token takes its experts; 0: any.
  int64_t groups = 0, top_groups = 0;
  std::string bias_rule = "sign";  ///< sign | sign_centered | proportional | smebu
  double bias_rate = 1e-3;         ///< 0: the bias stays as it is
  double sequence_weight = 1e-4;   ///< of the balance loss within each sequence

  void describe(OptionTable& table);
  /// UsageError: one of groups and top_groups without the other, more top groups than groups.
  void validate() const;
};

/// DeepSeek-V3's gate (arXiv 2412.19437, 2408.15664): each expert's score is its own sigmoid. The k
/// experts with the largest score + bias are chosen; weights are their scores without the bias,
/// divided by their sum (unless k is 1). The bias has no gradient: after each update it moves
/// towards equal loads of the whole batch, which replaces the balance loss. Dropless.
class SigmoidRouter : public Router {
 public:
  /// UsageError: k is not 1 to E, groups do not divide E, the top groups hold fewer than k experts.
  SigmoidRouter(RouterShape shape, TopkOptions topk, SigmoidOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  void end_update(const RouterStats& global, const LayerStats& layers) override;
  int64_t most_experts_per_token() const override { return topk_.k; }

 private:
  torch::Tensor score(const torch::Tensor& logits_TE) const;
  /// -infinity outside the best groups of each token.
  torch::Tensor limited_to_groups(const torch::Tensor& choice_TE) const;
  /// Before the weight of the options.
  torch::Tensor sequence_balance(const torch::Tensor& score_TE, const torch::Tensor& valid_T,
                                 int64_t sequence_length) const;

  TopkOptions topk_;
  SigmoidOptions options_;
  torch::Tensor bias_E_, momentum_E_;  ///< the latter of smebu alone
};

}  // namespace evomoe
