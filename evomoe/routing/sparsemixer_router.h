#pragma once

#include "evomoe/routing/router.h"
#include "evomoe/routing/topk_router.h"

namespace evomoe {

class OptionTable;

struct SparseMixerOptions {
  double epsilon = 0.1;  ///< experts whose logit is further than this from the largest are left out

  void describe(OptionTable& table);
};

/// SparseMixer (arXiv 2310.00811): in training a token's expert is sampled from the softmax over
/// the experts whose logit is near the largest one; half of the samples that are not the most
/// probable one count half, which with a doubled gradient makes an estimate of the dense gate's
/// gradient. In evaluation the most probable expert. The learned factor of the layer's output,
/// which the authors' code has, is left out. Dropless.
class SparseMixerRouter : public Router {
 public:
  SparseMixerRouter(RouterShape shape, SparseMixerOptions options)
      : Router(std::move(shape)), options_(options) {}
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  int64_t most_experts_per_token() const override { return 1; }

 private:
  SparseMixerOptions options_;
};

/// SparseMixer-v2 (GRIN, arXiv 2409.12136): two experts (or one), each sampled in the same way, the
/// second one among those that are left, with a softmax of its own: the weights do not sum to one.
/// Of samples that are not the most probable expert a quarter count in full, the others a third;
/// the gradient is that of the probability. Dropless.
class SparseMixer2Router : public Router {
 public:
  /// UsageError: k is not 1 or 2, or more than E.
  SparseMixer2Router(RouterShape shape, SparseMixerOptions options, TopkOptions topk);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  int64_t most_experts_per_token() const override { return topk_.k; }
  std::vector<std::string> unused_options() const override { return {"moe-no-normalize-topk"}; }

 private:
  SparseMixerOptions options_;
  TopkOptions topk_;
};

}  // namespace evomoe
