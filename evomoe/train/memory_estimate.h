#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "evomoe/base/parameter_kind.h"
#include "evomoe/models/encoder_decoder.h"
#include "evomoe/models/gpt.h"
#include "evomoe/models/roberta.h"

namespace evomoe {

/// Bytes of parameters. Those of experts stand apart, as ranks may share them.
struct ParameterBytes {
  int64_t experts = 0;  ///< of all experts
  int64_t others = 0;

  int64_t sum() const { return experts + others; }
  /// What a rank has of them where so many ranks share the experts.
  int64_t of_rank(int64_t expert_ranks) const { return experts / expert_ranks + others; }
};

/// The parameters of a part of a model: all of them, those that are trained, and what the optimiser
/// keeps of these in memory.
struct PartParameters {
  ParameterBytes all, trained, moments;
};

/// Bytes of a training run on the CPU, by what they are for.
struct MemoryEstimate {
  int64_t program = 0;     ///< resident without a model: libraries, data, buffers of LibTorch
  int64_t parameters = 0;  ///< with constant tables
  int64_t gradients = 0;
  int64_t moments = 0;      ///< what the optimiser keeps of the parameters, in memory
  int64_t snapshot = 0;     ///< the copy that a checkpoint in the background is written from
  int64_t activations = 0;  ///< kept from the forward to the backward pass
  int64_t workspace = 0;    ///< held for a moment: logits, gradients on their way, expert buffers
  // What of the parameters, constant tables apart, is in each block, and what is in none.
  std::vector<PartParameters> blocks;
  PartParameters outside;

  /// The parameters of the whole model.
  PartParameters model() const;
  int64_t total() const {
    return program + parameters + gradients + moments + snapshot + activations + workspace;
  }
};

/// How ranks divide a run.
struct RankDivision {
  int64_t ranks = 1;
  int64_t expert_ranks = 1;  ///< that share the experts
  int64_t zero_stage = 0;
  bool keep_whole = false;  ///< --no-reshard-after-forward
};

/// What a rank takes of a run that would take `whole` as one process. Beside its parts of what
/// --zero-stage divides it has for a moment, in stage 3, what is outside of blocks and two blocks;
/// of gradients those of a block, in stages 2 and 3, and what is on its way, of two buckets or
/// blocks both what is sent and what comes.
MemoryEstimate share_of_rank(const MemoryEstimate& whole, const RankDivision& division);

/// The largest micro-batch.
struct LargestBatch {
  int64_t tokens = 0;   ///< padding included; of a translation, those of either side
  int64_t columns = 0;  ///< of the longest sequence
  /// Tokens of an MoE layer: more than `tokens` where it pads short batches.
  int64_t moe_tokens = 0;
  int64_t predicted = 0;  ///< masked_lm: tokens that are predicted
  bool segments = false;  ///< rows hold several sequences (ForwardContext::segment_BS)
};

/// Bytes that the optimiser keeps in memory of a parameter; kFrozen: it is not trained, and so has
/// no gradient either.
inline constexpr int64_t kFrozen = -1;
using StateBytes = std::function<int64_t(ParameterKind kind, const std::vector<int64_t>& sizes)>;

/// What the model's parameters, gradients, activations and workspace take in the update that needs
/// most: after the spawn, each MoE layer with as many assignments as its router can make, all of
/// them at one expert where nothing forbids it. Counts what the operations keep and hold
/// (tests/train/memory_estimate_test.cpp compares it with what they do); float32.
MemoryEstimate estimate_memory(const GptOptions& model, const LargestBatch& batch,
                               const StateBytes& state);
/// With heads of sentences it is they that are trained, else the head of tokens.
MemoryEstimate estimate_memory(const RobertaOptions& model, const LargestBatch& batch,
                               const StateBytes& state);
MemoryEstimate estimate_memory(const EncoderDecoderOptions& model, const LargestBatch& batch,
                               const StateBytes& state);

}  // namespace evomoe
