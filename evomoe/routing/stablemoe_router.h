#pragma once

#include "evomoe/routing/router.h"

namespace evomoe {

class OptionTable;

struct StableMoeOptions {
  int64_t stage1_updates = 6000;  ///< the paper's: a tenth of its 60000
  int64_t distill_dim = 50;       ///< of the word embedding of the distilled router
  double balance_weight = 0.3;
  double distill_weight = 0.3;

  void describe(OptionTable& table);
};

/// StableMoE (arXiv 2204.08396). Stage 1: a token goes to the expert with its largest logit, under
/// a balance loss, while a light router, of an embedding of its own and E centroids, learns to
/// foretell that expert from the word alone. Stage 2, after the given number of updates: the
/// expert of each word is what the light router said then, for good. Evaluation always asks the
/// light router. The weight is the sigmoid of the expert's logit; as in `base`, the block makes the
/// authors' layer of it. Dropless, where theirs passes on tokens beyond twice the mean load as they
/// are. Reads the input's token ids.
class StableMoeRouter : public Router {
 public:
  StableMoeRouter(RouterShape shape, StableMoeOptions options);
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context) override;
  /// Counts the updates.
  void end_update(const RouterStats& global, const LayerStats& layers) override;
  void initialise(uint64_t seed, int64_t layer) override;
  int64_t most_experts_per_token() const override { return 1; }
  std::string cannot_grow() const override { return "its table names the expert of each word"; }

 private:
  /// The light router's logits of words, [N,E].
  torch::Tensor distilled(const torch::Tensor& id_N) const;
  /// Makes the table of stage 2 where there is none yet.
  void freeze();
  torch::Tensor stage1_balance(const torch::Tensor& weight_TE, const torch::Tensor& selected_TE,
                               const torch::Tensor& valid_T) const;

  StableMoeOptions options_;
  torch::Tensor embedding_VF_, centroid_EF_;  ///< of the light router
  torch::Tensor updates_;                     ///< int64 scalar
  torch::Tensor table_V_;                     ///< int64, the experts of stage 2; -1 in stage 1
};

}  // namespace evomoe
