#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/base/philox.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/routing/routing.h"

namespace evomoe {

/// Everything a router needs that is not a parameter. No globals.
struct RoutingContext {
  bool training = true;  ///< false: the method's evaluation routing (no noise)
  /// No dropout in the experts, although routed as in training: evaluation of the training stage.
  bool without_dropout = false;
  torch::Tensor valid_T;  ///< bool [T], true = real token: what statistics and means over tokens
                          ///< count; undefined: all are
  /// bool [T], true = may take a place in an expert, where a method heeds it; undefined: valid_T
  torch::Tensor routed_T;
  torch::Tensor token_id_T;  ///< int64 [T], the input token ids (hash routing); may be undefined
  NoiseKey noise;            ///< seed, update, layer, first sequence; a router sets the site
  Communicator* communicator =
      nullptr;  ///< for statistics over the global batch; never null in training
  /// Noise given from outside instead of drawn (tests and recorded runs): Gumbel [T,E], Gumbel of
  /// the second choice [T,E], uniform [T].
  torch::Tensor gumbel_TE, second_gumbel_TE, uniform_T;
};

/// Options of all routing methods. Every method gets them all. One that it does not heed (its
/// RouterFeatures) and that differs from the default here is refused, or, when the authors' program
/// has it, without effect (unheeded_flags()), so that their command lines go on working.
struct RouterOptions {
  std::string method = "switch";  ///< a name of the registry
  int64_t model_dim = 0;          ///< D
  int64_t num_experts = 0;        ///< E
  // Experts per token
  int64_t k = 2;
  bool normalize_topk = true;  ///< divide the chosen probabilities by their sum
  // Capacity as in the reference. A training factor <= 0: dropless, in training and in
  // evaluation.
  double train_capacity_factor = 1.0;  ///< --moe-train-capacity-token-fraction
  /// --moe-eval-capacity-token-fraction; <= 0: the training formula
  double eval_capacity_fraction = 0.25;
  std::string drop_policy = "position";  ///< position | probs
  // A sampled second expert
  std::string second_expert_policy = "sampling";  ///< sampling | random | all
  bool normalize_before_dropping = false;
  bool batch_prioritized = false;
  // Dense-to-sparse and Gumbel
  bool gumbel_softmax = false;  ///< RouterSchedule's temperature will be above 0
  bool gumbel_gates = false;    ///< combine weights are the noisy values
  /// In [0,1): an expert whose Gumbel-softmax value is <= this is not used.
  double threshold = 0.001;
  bool normalize_dts = false;  ///< divide the weights by their sum over the selected experts
  // Losses
  double z_loss_weight = 0.0;  ///< > 0: the router adds the loss "z" (the criterion multiplies it)
};

/// Which options a method heeds; it says so in its constructor.
struct RouterFeatures {
  bool top_k = false;           ///< k, normalize_topk
  bool train_capacity = false;  ///< train_capacity_factor above 0
  bool eval_capacity = false;   ///< eval_capacity_fraction above 0, drop_policy
  bool second_expert = false;   ///< second_expert_policy, normalize_before_dropping,
                                ///< batch_prioritized
  bool gumbel_softmax = false;  ///< heeds RouterSchedule
  bool gumbel_gates = false;    ///< gumbel_gates
  bool selection = false;       ///< threshold, normalize_dts
};

/// What changes in an update; a pure function of configuration and completed updates, set before
/// each update.
struct RouterSchedule {
  double temperature = -1.0;  ///< Gumbel-softmax tau; <= 0: no Gumbel-softmax (plain softmax over
                              ///< all experts in `dts`)
  bool hard = false;          ///< one expert per token
  double noise_scale =
      1.0;  ///< what the Gumbel noise is multiplied by; 0 makes the hard phase take the argmax
};

/// Maps tokens to experts. A method derives from this, implements route() and has a line in the
/// registry.
class Router : public torch::nn::Module {
 public:
  /// Registers the gate as the child `wg` (so that its parameter is `wg.weight`), with the default
  /// initialisation of torch::nn::Linear: U(-1/sqrt(D), 1/sqrt(D)). Throws UsageError when an
  /// option is outside its range or one of our own that the method does not heed; it names flag,
  /// value, method and remedy.
  explicit Router(RouterOptions options, const RouterFeatures& features = {});

  /// x_TD [T,D] -> who computes what, before capacity drops (apply_capacity is the caller's next
  /// step). Deterministic in evaluation: no noise is drawn there; noise in the context is used
  /// wherever it is given. Ends with complete().
  virtual Routing route(const torch::Tensor& x_TD, const RoutingContext& context) = 0;

  /// The most assignments an expert may take of `num_rows` rows, or nothing when dropless.
  virtual std::optional<int64_t> capacity(int64_t num_rows, bool training) const;

  /// The most experts that a token uses in training, at any stage.
  virtual int64_t most_experts_per_token() const { return num_experts(); }

  /// Before the first forward pass of an update.
  virtual void begin_update(const RouterSchedule& schedule) { schedule_ = schedule; }
  /// After a successful update, with statistics of the global batch: moves biases and controllers.
  virtual void end_update(const RouterStats& global) {}

  const RouterOptions& options() const { return options_; }
  /// The flags of the authors' program that are given and that the method does not heed, as one
  /// writes them.
  const std::vector<std::string>& unheeded_flags() const { return unheeded_flags_; }
  const RouterSchedule& schedule() const { return schedule_; }
  int64_t num_experts() const { return options_.num_experts; }

  /// The gate weight [E,D] (a Linear without bias).
  torch::Tensor& gate_weight() { return gate_weight_; }

 protected:
  /// Router logits [T,E], at least float32 (float64 stays). Error: x_TD is not [T,D].
  torch::Tensor logits(const torch::Tensor& x_TD) const;
  /// Gumbel noise [T,E] of a site: the injected one, else drawn in training, else undefined (none).
  torch::Tensor gate_noise(const torch::Tensor& injected_TE, NoiseSite site,
                           const torch::Tensor& logits_TE, const RoutingContext& context) const;
  /// context.valid_T, checked against the number of rows; undefined: all rows are real. For
  /// statistics and means over tokens.
  torch::Tensor valid_rows(const RoutingContext& context, int64_t num_rows) const;
  /// The rows that may take a place in an expert, checked: context.routed_T, else valid_T;
  /// undefined: all.
  torch::Tensor routed_rows(const RoutingContext& context, int64_t num_rows) const;
  /// The end of every route(): fills routing.stats and adds the z-loss when it is asked for.
  /// `selected_TE` bool [T,E] before drops, `probability_TE` the softmax of the logits.
  void complete(Routing& routing, const torch::Tensor& logits_TE,
                const torch::Tensor& probability_TE, const torch::Tensor& selected_TE,
                const torch::Tensor& valid_T) const;
  /// The reference's capacity in evaluation, ceil(eval_capacity_fraction * rows), or nothing when
  /// the fraction is <= 0.
  std::optional<int64_t> evaluation_capacity(int64_t num_rows) const;

  RouterOptions options_;
  std::vector<std::string> unheeded_flags_;
  RouterSchedule schedule_;
  torch::Tensor gate_weight_;
};

}  // namespace evomoe
