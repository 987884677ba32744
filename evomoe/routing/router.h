#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/base/philox.h"
#include "evomoe/config/option_set.h"
#include "evomoe/parallel/communicator.h"
#include "evomoe/routing/balance.h"
#include "evomoe/routing/routing.h"

namespace evomoe {

/// How routing changes in the course of a run; a pure function of configuration and completed
/// updates.
struct RouterSchedule {
  double temperature = -1.0;  ///< Gumbel-softmax tau; <= 0: no Gumbel-softmax (plain softmax over
                              ///< all experts in `dts`)
  bool hard = false;          ///< one expert per token
  double noise_scale =
      1.0;  ///< what the Gumbel noise is multiplied by; 0 makes the hard phase take the argmax
};

/// Everything a router needs that is not a parameter. No globals.
struct RoutingContext {
  bool training = true;  ///< false: the method's evaluation routing (no noise)
  /// No dropout in the experts, although routed as in training: evaluation of the training stage.
  bool without_dropout = false;
  torch::Tensor valid_T;  ///< bool [T], true = real token: what statistics and means over tokens
                          ///< count; undefined: all are
  /// bool [T], true = may take a place in an expert; undefined: valid_T
  torch::Tensor routed_T;
  /// The rows are another rank's, so that all ranks do the same (Batch::stands_in): they count
  /// nowhere.
  bool stands_in = false;
  torch::Tensor token_id_T;  ///< int64 [T], the input token ids (hash routing); may be undefined
  RouterSchedule schedule;   ///< of this update, or in evaluation of the last one
  NoiseKey noise;            ///< seed, update, layer, first sequence; a router sets the site
  /// The ranks of the run, for what is of all of them; null: there are no others, as in evaluation.
  Communicator* communicator = nullptr;
  /// Noise given from outside instead of drawn (tests and recorded runs): Gumbel [T,E], Gumbel of
  /// the second choice [T,E], uniform [T]; of a method that draws one for each choice, [T,K].
  torch::Tensor gumbel_TE, second_gumbel_TE, uniform_T;
};

/// What every router is made of, whatever its method.
struct RouterShape {
  std::string method = "switch";  ///< a name of the registry
  int64_t model_dim = 0;          ///< D
  int64_t num_experts = 0;        ///< E
  double z_loss_weight = 0.0;  ///< > 0: the router adds the loss "z" (the criterion multiplies it)
  std::string balance_scope = "micro-batch";  ///< of the loads in balance(): | rank | update
  /// Token ids are below this, for methods that store something for each of them; 0: not known,
  /// such a router can be made and asked, but not used.
  int64_t vocab_size = 0;
};

/// What the registry makes a router of: its shape, and the options of the methods, of which it
/// passes those to the method that it uses.
struct RouterOptions : RouterShape {
  OptionSet of_methods;

  /// The value of an option struct of a method: `options.get<TopkOptions>().k = 4`.
  template <typename Options>
  Options& get() {
    return of_methods.get<Options>();
  }
  template <typename Options>
  const Options& get() const {
    return of_methods.get<Options>();
  }
};

/// Maps tokens to experts. A method derives from this, implements route() and has a line in the
/// registry.
class Router : public torch::nn::Module {
 public:
  /// Registers the gate as the child `wg` (so that its parameter is `wg.weight`), with the default
  /// initialisation of torch::nn::Linear: U(-1/sqrt(D), 1/sqrt(D)). Throws UsageError when
  /// something of the shape is outside its range; it names flag, value and remedy.
  explicit Router(RouterShape shape);
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  /// x_TD [T,D] -> who computes what, before capacity drops (apply_capacity is the caller's next
  /// step). Deterministic in evaluation: no noise is drawn there; noise in the context is used
  /// wherever it is given. Ends with complete().
  virtual Routing route(const torch::Tensor& x_TD, const RoutingContext& context) = 0;

  /// The most assignments an expert may take of `num_rows` rows, or nothing when dropless.
  virtual std::optional<int64_t> capacity(int64_t num_rows, bool training) const;

  /// The most experts that a token uses in training, at any stage.
  virtual int64_t most_experts_per_token() const { return num_experts(); }

  /// Before the first micro-batch of an update, also of one that follows a skipped one.
  void begin_update() { loads_.clear(); }

  /// After a successful update, with statistics of the global batch: moves biases and controllers.
  /// `layers`: of all MoE layers, for a controller that they share.
  virtual void end_update(const RouterStats& global, const LayerStats& layers) {}

  /// Sets the first values of all parameters, keyed by seed and layer.
  virtual void initialise(uint64_t seed, int64_t layer);

  /// Why a token's experts in evaluation depend on tokens behind it, as part of a sentence ("each
  /// expert takes ..."); empty: they do not. Such a method is refused for causal models.
  virtual std::string sees_future() const { return ""; }

  /// Why what it stores cannot follow when each expert becomes several (--growth-experts), as part
  /// of a sentence; empty: it can, by a copy for each.
  virtual std::string cannot_grow() const { return ""; }

  /// Whether end_update() needs RouterStats::output_sum_ED1.
  virtual bool watches_outputs() const { return false; }
  /// Whether RouterSchedule changes the routing.
  virtual bool follows_schedule() const { return false; }
  /// Options of the structs that it uses which have no effect all the same, by name
  /// ("moe-eval-capacity-token-fraction"). They are treated as those of a struct that it does not
  /// use.
  virtual std::vector<std::string> unused_options() const { return {}; }

  const RouterShape& shape() const { return shape_; }
  int64_t num_experts() const { return shape_.num_experts; }

  /// The gate weight [E,D] (a Linear without bias).
  torch::Tensor& gate_weight() { return gate_weight_; }

  /// From now on computes with this tensor in the place of the parameter or buffer of that name
  /// ("wg.weight"), which gets its gradient. For a caller that has the tensors, as a module of
  /// PyTorch does (python/); it need not be a leaf. named_parameters() still gives the first one.
  /// Error: an unknown name, another shape.
  void use_tensor(const std::string& name, const torch::Tensor& tensor);

 protected:
  /// Registers `value` and holds it in `member`, of this object, where use_tensor() finds it.
  void add_parameter(torch::Tensor& member, const std::string& name, const torch::Tensor& value);
  void add_buffer(torch::Tensor& member, const std::string& name, const torch::Tensor& value);

  /// Router logits [T,E], at least float32 (float64 stays). Error: x_TD is not [T,D].
  torch::Tensor logits(const torch::Tensor& x_TD) const;
  /// Gumbel noise [T,E] of a site: the injected one, else drawn in training, else undefined (none).
  torch::Tensor gate_noise(const torch::Tensor& injected_TE, NoiseSite site,
                           const torch::Tensor& logits_TE, const RoutingContext& context) const;
  /// Uniform noise [T] of a token's choice number `choice`: that column of the injected one, else
  /// drawn in training, else undefined (none).
  torch::Tensor choice_noise(int64_t choice, int64_t num_rows, const RoutingContext& context) const;
  /// context.valid_T, checked against the number of rows; undefined: all rows are real. For
  /// statistics and means over tokens.
  torch::Tensor valid_rows(const RoutingContext& context, int64_t num_rows) const;
  /// The rows that may take a place in an expert, checked: context.routed_T, else valid_T;
  /// undefined: all.
  torch::Tensor routed_rows(const RoutingContext& context, int64_t num_rows) const;
  /// The balance loss (routing/balance.h) of `num_rows` rows, of which `selected_count_E` chose
  /// each expert. The loads are theirs, or also those of this rank's other micro-batches of the
  /// update so far, or of all ranks' (--moe-balance-scope): then all ranks call it.
  RouterLoss balance(const torch::Tensor& gate_TE, const torch::Tensor& selected_count_E,
                     int64_t num_rows, const RoutingContext& context) const;
  /// E/k sum_e f_e P_e over the real tokens, 1 when they are balanced, whatever k: f_e is the load
  /// of `stats` before drops, with the scope of balance(), P_e the mean of probability_TE.
  /// `valid_T` bool [T] or undefined (all).
  RouterLoss balance_of_valid(const torch::Tensor& probability_TE, const RouterStats& stats,
                              const torch::Tensor& valid_T, double k,
                              const RoutingContext& context) const;
  /// The end of every route(): fills routing.stats and adds the z-loss when it is asked for.
  /// `selected_TE` bool [T,E] before drops, `probability_TE` the softmax of the logits. Both have E
  /// columns; logits may have more (of experts that compute nothing).
  void complete(Routing& routing, const torch::Tensor& logits_TE,
                const torch::Tensor& probability_TE, const torch::Tensor& selected_TE,
                const torch::Tensor& valid_T) const;

  /// Sets a parameter to U(-bound, bound), keyed by seed, layer and `part`, a number of its own
  /// from 1 on.
  static void fill_uniform(torch::Tensor& parameter, double bound, uint64_t seed, int64_t layer,
                           uint32_t part);

  RouterShape shape_;
  torch::Tensor gate_weight_;

 private:
  mutable UpdateLoads loads_;                      ///< of balance(), in the update that goes on
  std::map<std::string, torch::Tensor*> members_;  ///< parameters and buffers by their names
};

}  // namespace evomoe
