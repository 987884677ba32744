#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "evomoe/checkpoint/tensor_piece.h"
#include "evomoe/models/transformer_block.h"
#include "evomoe/optim/named_parameter.h"
#include "evomoe/parallel/rank_groups.h"

namespace evomoe {

/// What ranks divide among themselves (ZeRO, arXiv 1910.02054).
struct ZeroSettings {
  int64_t stage = 0;  ///< 0: nothing; 1: the optimiser's state; 2: gradients too; 3: parameters too
  bool keep_whole = false;  ///< stage 3: blocks stay whole from forward to backward
};

/// A parameter, and what of it this rank owns.
struct ParameterShard {
  std::string name;
  ParameterKind kind = ParameterKind::kMatrix;
  torch::Tensor whole;  ///< the model's own tensor
  torch::Tensor own;    ///< what the optimiser updates: `whole`, or [end - begin] elements of it
  std::shared_ptr<Communicator> ranks;  ///< those that have it: its gradients are summed over them
  bool divided = false;                 ///< the ranks own parts of it
  int64_t begin = 0, end = 0;           ///< this rank's elements of the flattened parameter
  int64_t block = -1;                   ///< the block that it belongs to; -1: none

  /// The elements of a tensor of the parameter's shape that this rank owns.
  torch::Tensor part_of(const torch::Tensor& of_all) const;
  /// The tensor of the parameter's shape of which each rank has such a part. All ranks call it.
  torch::Tensor gathered(const torch::Tensor& part) const;

  // Where the parameter is divided:
  int64_t row = 0;          ///< elements of each rank; the last ones are padded
  torch::Tensor rows;       ///< [ranks * row], the memory of `whole` with its padding
  torch::Tensor row_alone;  ///< stage 3: [row], this rank's memory, `own` with its padding
};

/// The parameters of a model, divided among ranks: each rank owns an even part of the elements of
/// each parameter, so that any two ranks hold the same number of bytes, up to rounding.
///
/// In stage 3 a parameter is whole only while it is used. A block is gathered right before its
/// forward pass, while the block before it computes, and freed after it; the same again in the
/// backward pass. What is outside of blocks (embeddings, heads, the last norms) stays whole during
/// an update. All ranks gather the same in the same order, whatever their batches are.
class ParameterShards {
 public:
  /// All parameters are whole at first, also in stage 3 (divide()). `shares_experts`: each rank of
  /// ranks.experts has other experts. All ranks call it.
  ParameterShards(torch::nn::Module& model, const std::vector<NamedParameter>& parameters,
                  const RankGroups& ranks, bool shares_experts, ZeroSettings settings);
  ~ParameterShards();
  ParameterShards(const ParameterShards&) = delete;
  ParameterShards& operator=(const ParameterShards&) = delete;

  const ZeroSettings& settings() const { return settings_; }
  const std::vector<ParameterShard>& all() const { return shards_; }
  const ParameterShard& of(const std::string& name) const { return shards_.at(index_.at(name)); }
  const ParameterShard& of(const torch::Tensor& whole) const;  ///< a parameter of the model
  const ParameterShard* find(const std::string& name) const {  ///< null: there is none
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &shards_[found->second];
  }
  /// What the optimiser updates.
  std::vector<NamedParameter> own() const;
  /// Whether it is an expert's, of which each rank of ranks.experts has others.
  bool is_of_replicas(const ParameterShard& shard) const { return shard.ranks != all_; }

  /// Puts another tensor in the place of an expert's, after which ranks.experts share the experts.
  /// The parameters must be whole. All ranks call it.
  void replace(const std::string& name, torch::Tensor whole);

  /// Stages 1 and 2: every rank gets what the others updated.
  void share_update();

  /// Whether this rank has only its part of each parameter (stage 3), as between two updates.
  bool is_divided() const { return phase_ != Phase::kWhole; }
  /// Stage 3: each rank keeps its part alone.
  void divide();
  /// Every parameter is whole again. `with_values`: with its values, which all ranks bring
  /// together; else with undefined ones, which are to be set.
  void make_whole(bool with_values);

  // An update of stage 3; in others these do nothing. A rank without a backward pass calls the
  // same.
  void begin_forward();
  void begin_backward();
  void end_backward();
  void end_update();
  /// `hook(block)` is called before a block's backward pass. All gradients of the blocks behind it
  /// are there, or do not come any more.
  void before_block_backward(std::function<void(int64_t block)> hook);

  // Stage 3: between these the model can be evaluated. `all_blocks`: by any calls of its blocks, of
  // each rank its own; else in whole forward passes, equally many on all ranks.
  void begin_evaluation(bool all_blocks);
  void end_evaluation();

 private:
  enum class Phase { kWhole, kDivided, kForward, kBackward };
  struct Transfer;
  struct Unit;
  class OfBlock;

  ParameterShard make_shard(const NamedParameter& parameter,
                            const std::shared_ptr<Communicator>& ranks) const;
  void add_to_unit(size_t index);
  void start(Unit& unit);
  void wait(Unit& unit);
  void free(Unit& unit);
  void before_forward(int64_t block);
  void after_forward(int64_t block);
  void backward_down_to(int64_t block);
  int64_t last_block() const;
  Unit& block(int64_t index);
  Unit& outside();

  ZeroSettings settings_;
  std::vector<std::pair<std::string, TransformerBlock>> blocks_;
  std::shared_ptr<Communicator> all_, replicas_;  ///< for gathering alone
  std::vector<ParameterShard> shards_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::unique_ptr<Unit>> units_;  ///< of each block, then of what is outside of them
  std::vector<std::unique_ptr<OfBlock>> of_blocks_;
  std::function<void(int64_t)> before_block_backward_ = [](int64_t) {};
  Phase phase_ = Phase::kWhole;
  int64_t next_ = 0;  ///< block of the pass that goes on
  bool evaluates_ = false, holds_all_ = false;
};

/// An evaluation that ends with it.
class EvaluationScope {
 public:
  EvaluationScope(ParameterShards& shards, bool all_blocks) : shards_(shards) {
    shards_.begin_evaluation(all_blocks);
  }
  ~EvaluationScope() {
    try {
      shards_.end_evaluation();
    } catch (const std::exception&) {  // it has ended with an error, which says why
    }
  }
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  ParameterShards& shards_;
};

}  // namespace evomoe
