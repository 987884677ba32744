#pragma once

#include <memory>
#include <utility>

#include "evomoe/bench/model_case.h"
#include "evomoe/parallel/distributed_options.h"
#include "evomoe/parallel/rank_groups.h"
#include "evomoe/train/trainer.h"

namespace evomoe::bench {

/// `evomoe bench step`: training steps of a GPT by the trainer of `evomoe train`. Its Adam adds eps
/// to the uncorrected second moment, as fairseq's does, torch's to the corrected one. Where
/// gradients are as small as eps this is felt: last losses agree with the PyTorch benchmarks' to
/// 4e-4 (`small`) and 1.2e-3 (`gpt2s`), and to 1e-5 when those are given the same eps.
struct StepOptions {
  RunOptions run;
  ModelFlags model;
  double balance_weight = 0.01;
  double lr = 3e-4;
  double weight_decay = 0.1;
  double clip = 1.0;
  int64_t batches = 4;  ///< distinct ones, used in turn
  bool debug_balanced_routing = false;
  DistributedOptions distributed;  ///< ranks that make the steps together
};

void describe(OptionTable& table, StepOptions& options);
/// `ranks`: this process among those that measure; rank 0 prints.
void run(const StepOptions& options, std::shared_ptr<Communicator> ranks);

/// A trainer with the hash-made model. `balanced`: routers are replaced, see balanced_router().
std::unique_ptr<Trainer> make_trainer(const ModelCase& model, bool balanced = false,
                                      const DistributedOptions& distributed = {},
                                      RankGroups ranks = one_rank());

/// Mean cross-entropy (nats per token) of the first and last of `steps` training steps that take
/// `batches` distinct batches in turn.
std::pair<double, double> first_and_last_loss(const ModelCase& model, int64_t steps,
                                              int64_t batches);

}  // namespace evomoe::bench
