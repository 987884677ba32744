#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/moe/diversify.h"
#include "evomoe/moe/expert_bank.h"
#include "evomoe/parallel/rank_groups.h"
#include "evomoe/routing/router.h"

namespace evomoe {

struct MoELayerOptions {
  RouterOptions router;    ///< with model_dim D and num_experts E
  int64_t hidden_dim = 0;  ///< H
  std::string activation = "gelu";
  bool gated = false;  ///< of the experts, as ExpertBankOptions has it
  bool biases = true;  ///< of the experts
  double activation_dropout = 0.0;
  double dropout = 0.0;
  bool shared_expert = false;  ///< start in the shared-expert stage: one expert takes every token
                               ///< with weight 1 and the gate is unused, until spawn()
  bool recompute_experts = false;
  int64_t layer = 0;
  /// Of the first values of gate and experts, as initialise() sets them; nothing: they are
  /// undefined until initialise() or loading.
  std::optional<uint64_t> initial_seed = 1;
};

struct MoEOutput {
  torch::Tensor y_BSD;
  std::vector<RouterLoss> losses;  ///< empty in the shared-expert stage
  RouterStats stats;               ///< of real tokens; E = 1 in the shared-expert stage
};

/// A sparse Mixture-of-Experts layer: route -> drop what exceeds capacity -> experts -> combine.
/// Children `gate` (parameter gate.wg.weight [E,D]) and `experts` (an ExpertBank).
class MoELayerImpl : public torch::nn::Module {
 public:
  explicit MoELayerImpl(const MoELayerOptions& options);

  /// x_BSD [B,S,D] -> y_BSD [B,S,D]; dropout in training, unless the context is without it. A batch
  /// of fewer than `padded_batch` sequences is routed with rows of zeros up to that number, as the
  /// reference does (they count in capacity and losses, and are not valid); 0: as it is. Noise
  /// given in the context then has padded_batch * S rows. Errors: x_BSD has another shape; more
  /// than padded_batch sequences.
  MoEOutput forward(const torch::Tensor& x_BSD, const RoutingContext& context,
                    int64_t padded_batch = 0);

  /// Sets gate and experts from the seed (torch::nn::Linear's distributions), keyed by layer.
  void initialise(uint64_t seed);

  /// Divides the experts among ranks, which each call it for the same layers in the same order:
  /// from now on this layer holds its rank's alone, and forward() is one of all these ranks. The
  /// one shared expert is on each rank. `exchange_parts`: how many parts of a batch's tokens travel
  /// on their own, so that the experts compute one while others travel. Error: experts that are
  /// divided already.
  void divide_experts(std::shared_ptr<Communicator> ranks, int64_t exchange_parts = 1);

  /// Ends the shared-expert stage: the one expert becomes `num_experts` (the router's E), of which
  /// this rank's are made. The experts' parameters are new tensors under the old names; the gate
  /// stays as it is. Errors: not in that stage, another number than the router's.
  void spawn(int64_t num_experts, const DiversifyOptions& options, uint64_t seed);

  /// Each expert becomes several copies of itself, `num_experts` in all: expert e is a copy of
  /// number e mod n. So does what the router has of each expert. The gate's rows of the copies get
  /// normal noise of `noise` times the deviation of all, so that they part. The parameters of gate
  /// and experts are new tensors under the old names. Errors: the shared-expert stage, experts that
  /// ranks divide, a number that n does not divide.
  void grow(int64_t num_experts, double noise, uint64_t seed);

  /// Gives each expert's row of the gate the direction of centroid_ED [E,D], and all rows the mean
  /// length that they have.
  void point_gate(const torch::Tensor& centroid_ED);

  /// `hook` is told the input [T,D] of every forward pass and its context; none: no longer.
  void watch_input(std::function<void(const torch::Tensor&, const RoutingContext&)> hook) {
    watch_input_ = std::move(hook);
  }
  /// `hook` is told what each forward pass has routed, with what is dropped left out, and for which
  /// tokens, but in the shared-expert stage; none: no longer.
  void watch_routing(std::function<void(const Routing&, const RoutingContext&)> hook) {
    watch_routing_ = std::move(hook);
  }

  bool in_shared_expert_stage() const { return shared_expert_; }
  /// For end_update, and its gate weight.
  const std::shared_ptr<Router>& router() const { return router_; }
  /// Those of this rank; in the shared-expert stage the one.
  const ExpertBank& experts() const { return experts_; }
  /// Which of the router's experts this rank owns.
  const ExpertRange& owned() const { return owners_.at(static_cast<size_t>(ranks_->rank())); }
  const MoELayerOptions& options() const { return options_; }

 private:
  Routing route(const torch::Tensor& x_TD, const RoutingContext& context);
  torch::Tensor apply_experts(const torch::Tensor& x_TD, const Routing& routing,
                              const RoutingContext& context, RouterStats& stats);
  /// The same by the experts of this rank; adds up what a router watches of their outputs.
  torch::Tensor apply_own_experts(const torch::Tensor& x_TD, const Routing& routing,
                                  const RoutingContext& context, const NoiseKey& noise,
                                  const torch::Tensor& noise_token_T, RouterStats& stats);
  /// A bank in the place of the present one.
  void hold(const ExpertRange& experts, const ExpertWeights& weights);

  MoELayerOptions options_;
  std::function<void(const torch::Tensor&, const RoutingContext&)> watch_input_;
  std::function<void(const Routing&, const RoutingContext&)> watch_routing_;
  bool shared_expert_;
  std::shared_ptr<Router> router_;
  ExpertBank experts_{nullptr};
  std::shared_ptr<Communicator> ranks_;  ///< among which the experts are divided
  std::vector<ExpertRange> owners_;      ///< beside their ranks
  int64_t exchange_parts_ = 1;
};
TORCH_MODULE(MoELayer);

}  // namespace evomoe
