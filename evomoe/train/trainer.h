#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "evomoe/base/error.h"
#include "evomoe/checkpoint/safetensors.h"
#include "evomoe/checkpoint/tensor_piece.h"
#include "evomoe/data/dataset.h"
#include "evomoe/models/model.h"
#include "evomoe/moe/evolution.h"
#include "evomoe/moe/expert_similarity.h"
#include "evomoe/optim/lr_schedule.h"
#include "evomoe/optim/optimizer.h"
#include "evomoe/parallel/rank_groups.h"
#include "evomoe/train/criterion.h"
#include "evomoe/train/gradient_sync.h"
#include "evomoe/train/model_options.h"
#include "evomoe/train/options.h"
#include "evomoe/train/parameter_shards.h"

namespace evomoe {

/// A loss, gradient or parameter is NaN or Inf, so that what the trainer holds is not worth
/// keeping.
class DivergenceError : public Error {
 public:
  using Error::Error;
};

/// What one update did, on all ranks together.
struct UpdateResult {
  bool applied =
      true;  ///< false: skipped, a loss or gradient was not finite (--on-non-finite skip)
  LossSums sums;
  double lr = 0;             ///< used in this update
  double gradient_norm = 0;  ///< of the gradients divided by the sample size, before clipping
  double clip_coefficient = 1;
  StageState stage;        ///< in force in this update
  bool spawned = false;    ///< the experts were spawned right before it
  int64_t grown_from = 0;  ///< > 0: each layer had so many experts before, and has more from it on
  std::vector<std::pair<int64_t, RouterStats>>
      routers;       ///< (layer, statistics summed over all micro-batches)
  double flops = 0;  ///< executed floating-point operations, forward and backward
};

/// Noise given from outside: (micro-batch of the update, layer) -> Gumbel noise [T,E] of the
/// router; undefined: drawn.
using RecordedNoise = std::function<torch::Tensor(int64_t micro_batch, int64_t layer)>;

/// Owns model and optimiser, and the order of one update.
class Trainer {
 public:
  /// A new model, initialised from --seed.
  Trainer(const TrainOptions& options, const Vocabulary& vocabulary, torch::Device device,
          RankGroups ranks = one_rank());
  /// A model whose state is loaded next: after `completed_updates`, with the one shared expert or
  /// the spawned ones in its MoE layers, `experts` of them (0: as many as the schedule says).
  Trainer(const TrainOptions& options, const Vocabulary& vocabulary, torch::Device device,
          int64_t completed_updates, bool shared_expert, RankGroups ranks = one_rank(),
          int64_t experts = 0);

  /// One update from the micro-batches of this rank. Throws DivergenceError naming update, layer
  /// and tensor when something is not finite.
  UpdateResult update(const std::vector<Batch>& micro_batches, int64_t epoch);

  int64_t updates() const { return updates_; }
  /// Learning rate of the next update, before the factors of --lr-factor.
  double next_lr(int64_t epoch) const {
    const auto scheduled =
        lr_at(lr_schedule_, updates_, epoch) * rewarmup_factor(options_.evolution, updates_);
    return optimizer_->learning_rate(scheduled, updates_ + 1);
  }
  /// The schedule of the learning rate from the next update on (--budget).
  void set_lr_schedule(const LrScheduleOptions& schedule) { lr_schedule_ = schedule; }
  const LrScheduleOptions& lr_schedule() const { return lr_schedule_; }
  StageState next_stage() const { return stage_at(options_.evolution, updates_); }
  /// Whether the MoE layers hold the one shared expert. At the end of that stage they do until the
  /// next update spawns the experts.
  bool holds_shared_expert() const;
  /// How many experts an MoE layer has, or will be spawned: not all before its last growth.
  int64_t experts() const { return options_.moe.moe_expert_count; }
  /// The shared expert of each MoE layer becomes all of them; only to be called where the schedule
  /// does not do it: for a dense model's weights in a run without that stage.
  void spawn_experts();
  /// Throws DivergenceError naming the first parameter that holds a NaN or Inf.
  void check_parameters() const;
  Model& model() { return *model_; }
  const Model& model() const { return *model_; }
  torch::Device device() const { return device_; }
  const Criterion& criterion() const { return criterion_; }
  Communicator& communicator() { return *ranks_.all; }
  const RankGroups& ranks() const { return ranks_; }

  /// Parameters and buffers, by name. Of what ranks hold together these are this rank's pieces.
  TensorMap model_state() const;
  TensorMap optimizer_state() const;
  /// Which pieces, of both, this rank has to save: another one that holds the same saves no piece.
  TensorPieces pieces() const;
  /// To be held while the model is evaluated: with --zero-stage 3 its parameters are on this rank
  /// only then. All ranks call it. `any_calls`: ranks may call its blocks as they like; else they
  /// make whole forward passes, equally many.
  [[nodiscard]] EvaluationScope evaluation(bool any_calls) const {
    return EvaluationScope(*shards_, any_calls);
  }
  /// How alike the experts of each layer are, by its number; not in the shared-expert stage. All
  /// ranks call it.
  std::vector<std::pair<int64_t, ExpertSimilarity>> expert_similarity() const;
  /// Bytes of the optimiser's state that are in memory (--offload-moments).
  int64_t resident_optimizer_bytes() const { return optimizer_->resident_bytes(); }
  /// `state`: whole tensors, of which this rank takes its pieces.
  void load_model_state(const TensorMap& state, const std::string& what, const std::string& remedy);
  void load_optimizer_state(const TensorMap& state);
  /// `hook` is called before parameters, buffers or the optimiser's state change.
  void before_change(std::function<void()> hook) { before_change_ = std::move(hook); }
  void set_recorded_noise(RecordedNoise noise) { recorded_noise_ = std::move(noise); }
  /// Parameters with their gradients of the last update (a sum over target tokens); with
  /// --zero-stage the part of each that this rank updates.
  const std::vector<NamedParameter>& parameters() const { return optimizer_->parameters(); }

 private:
  void begin_update(const std::vector<Batch>& micro_batches, UpdateResult& result);
  /// Each MoE layer gets more experts (--growth-experts).
  void grow_experts(int64_t experts);
  /// What --freeze names has no gradient. To be called when parameters are new.
  void freeze();
  /// Makes the gates point to directions of what their layers are given in the micro-batches of all
  /// ranks (--evolution-router-init kmeans).
  void point_gates(const std::vector<Batch>& micro_batches);
  void forward_backward(const Batch& batch, int64_t micro_batch, bool last, UpdateResult& result);
  /// All that was counted and made of this rank's micro-batches becomes that of all ranks.
  void sum_over_all_ranks(UpdateResult& result);
  /// Whether layers need the other ranks (their experts, parameters or loads), so that all ranks go
  /// through each backward pass together, or not at all.
  bool layers_talk() const;
  /// Whether the experts are divided among ranks: in the shared-expert stage they are not.
  bool shares_experts() const;
  /// Whole tensors, cut to the experts that this rank owns.
  TensorMap own_experts(TensorMap state) const;
  void measure_gradients(UpdateResult& result);
  bool gradients_are_usable(const UpdateResult& result);
  [[noreturn]] void explain_non_finite(const Batch& batch, const std::string& found);
  /// The first parameter with a NaN or Inf in it, of those that this rank holds.
  std::optional<std::string> non_finite_parameter() const;
  /// The same of gradients, of all ranks; all of them call it.
  std::optional<std::string> non_finite_gradient() const;
  /// The same of parameters.
  std::optional<std::string> broken_parameter() const;

  TrainOptions options_;  ///< --moe-expert-count is that of now
  int64_t all_experts_;   ///< and this what it is at last
  torch::Device device_;
  LrScheduleOptions lr_schedule_;
  Criterion criterion_;
  ModelPtr model_;
  RankGroups ranks_;
  std::unique_ptr<ParameterShards> shards_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<GradientSync> gradients_;
  int64_t updates_ = 0;
  int64_t skipped_ = 0;  ///< updates skipped since the last one that was applied
  RecordedNoise recorded_noise_;
  std::function<void()> before_change_ = [] {};
};

/// The trainable tensors of a model and what they are, in the order of its registration.
std::vector<NamedParameter> named_parameters(const torch::nn::Module& model);

/// All that a checkpoint stores of a model, by name: its parameters and buffers.
std::vector<std::pair<std::string, torch::Tensor>> named_state(const torch::nn::Module& model);

}  // namespace evomoe
