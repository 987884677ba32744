#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "evomoe/base/philox.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/routing/routing.h"

namespace evomoe {

/// Everything a router needs that is not a parameter. No globals.
struct RoutingContext {
  bool training = true;
  bool recomputing = false;        ///< second forward of activation checkpointing: leave statistics alone
  int64_t update = 0;              ///< completed updates
  torch::Tensor valid_T;           ///< bool [T], true = real token; undefined: all are. False rows get no slot where a method heeds it
  torch::Tensor token_id_T;        ///< int64 [T], the input token ids (hash routing); may be undefined
  NoiseKey noise;                  ///< seed, update, layer, first sequence; a router sets the site
  Communicator* communicator = nullptr;  ///< for statistics over the global batch; never null in training
  /// Noise given from outside instead of drawn (tests and recorded runs): Gumbel [T,E], Gumbel of the second choice [T,E], uniform [T].
  torch::Tensor gumbel_TE, second_gumbel_TE, uniform_T;
};

/// Options of all routing methods; a method refuses those it cannot honour (validate).
struct RouterOptions {
  std::string method = "switch";  ///< a name of the registry: dense, switch, gshard, topk, dts
  int64_t model_dim = 0;          ///< D
  int64_t num_experts = 0;        ///< E
  int64_t k = 2;                  ///< experts per token of `topk`
  bool normalize_topk = true;     ///< `topk`: divide the chosen probabilities by their sum
  // Capacity (reference/evomoe.md 1.1-1.3). A factor <= 0: dropless.
  double train_capacity_factor = 1.0;    ///< --moe-train-capacity-token-fraction
  double eval_capacity_fraction = 0.25;  ///< --moe-eval-capacity-token-fraction; <= 0: the training formula
  std::string drop_policy = "position";  ///< position | probs
  // GShard
  std::string second_expert_policy = "sampling";  ///< sampling | random | all
  bool normalize_before_dropping = false;
  bool batch_prioritized = false;
  // Dense-to-sparse and Gumbel
  double threshold = 0.001;     ///< an expert whose Gumbel-softmax value is <= this is not used
  bool gumbel_gates = false;    ///< combine weights are the noisy values
  bool normalize_dts = false;   ///< divide the combine weights by their sum over the selected experts
  // Losses
  double z_loss_weight = 0.0;
  bool gating_fp32 = true;      ///< logits and softmax in float32 whatever the model's type
};

/// What changes in an update; a pure function of configuration and completed updates, set before each update.
struct RouterSchedule {
  double temperature = -1.0;  ///< Gumbel-softmax tau; <= 0: no Gumbel-softmax (plain softmax over all experts in `dts`)
  bool hard = false;          ///< one expert per token
  double noise_scale = 1.0;   ///< what the Gumbel noise is multiplied by; 0 makes the hard phase take the argmax
};

/// Maps tokens to experts.
class Router : public torch::nn::Module {
 public:
  explicit Router(RouterOptions options);

  /// x_TD [T,D] -> who computes what. Deterministic in evaluation.
  virtual Routing route(const torch::Tensor& x_TD, const RoutingContext& context) = 0;

  /// The most assignments an expert may take of `num_rows` rows, or nothing when dropless.
  virtual std::optional<int64_t> capacity(int64_t num_rows, bool training) const;

  /// Before the first forward pass of an update.
  virtual void begin_update(const RouterSchedule& schedule) { schedule_ = schedule; }
  /// After a successful update, with statistics of the global batch: moves biases and controllers.
  virtual void end_update(const RouterStats& global) {}

  const RouterOptions& options() const { return options_; }
  const RouterSchedule& schedule() const { return schedule_; }
  int64_t num_experts() const { return options_.num_experts; }

  /// The gate weight [E,D] (a Linear without bias).
  torch::Tensor& gate_weight() { return gate_weight_; }

 protected:
  /// Router logits [T,E]; float32 when options().gating_fp32.
  torch::Tensor logits(const torch::Tensor& x_TD) const;

  RouterOptions options_;
  RouterSchedule schedule_;
  torch::Tensor gate_weight_;
};

}  // namespace evomoe
