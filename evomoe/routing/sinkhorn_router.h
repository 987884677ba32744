#pragma once

#include "evomoe/routing/router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

class OptionTable;

struct SinkhornOptions {
  double tolerance = 1e-4;  ///< of the scaling of the experts, on average

  void describe(OptionTable& table);
};

/// S-BASE as Megatron has it (after arXiv 2202.01169): in training a token's experts are the k
/// largest entries of exp(logits), scaled by Sinkhorn's iteration so that each expert has as much
/// of the micro-batch of a rank as any other; in evaluation those of its largest logits. Weights
/// are the sigmoid of the logit for k = 1, else its softmax. Choices in training see later tokens,
/// those in evaluation do not. No loss; dropless.
class SinkhornRouter : public Router {
 public:
  /// UsageError: k is not 1 to E.
  SinkhornRouter(RouterShape shape, TopkOptions topk, SinkhornOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  int64_t most_experts_per_token() const override { return topk_.k; }
  std::vector<std::string> unused_options() const override { return {"moe-no-normalize-topk"}; }

 private:
  torch::Tensor plan(const torch::Tensor& logits_TE, const torch::Tensor& routed_T) const;

  TopkOptions topk_;
  SinkhornOptions options_;
};

}  // namespace evomoe
