#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/data/dataset.h"
#include "evomoe/data/epoch_iterator.h"
#include "evomoe/models/model.h"
#include "evomoe/report/log_line.h"
#include "evomoe/report/meters.h"
#include "evomoe/train/criterion.h"
#include "evomoe/train/options.h"

/// Losses without training: a batch, a whole validation set.
namespace evomoe {

/// The tensors of a batch. Padding is marked only when there is some.
DeviceBatch to_device(const Batch& batch, int64_t padding_index, torch::Device device);

/// How batches of an EpochIterator are made: for training, or for validation (never shuffled).
EpochIteratorOptions iterator_options(const TrainOptions& options, bool training);

/// The context of a forward pass without dropout. `as_trained`: with the routing of the present
/// training stage after `updates` completed ones. Its noise has a seed of its own (never numbers of
/// the training) and is keyed by update, sequence and position; the place of the batch's first
/// sequence is the caller's to set.
ForwardContext evaluation_context(const TrainOptions& options, bool as_trained,
                                  int64_t updates = 0);

/// That of evaluation that pads no batch: generation (docs/reference.md section 10), eval-lm.
ForwardContext unpadded_context(const TrainOptions& options, int64_t updates);

/// The losses of one batch, without gradients. batch.first_sequence keys the noise of `as_trained`.
LossSums evaluate_batch(Model& model, const Criterion& criterion, const TrainOptions& options,
                        const Batch& batch, torch::Device device, bool as_trained,
                        int64_t updates = 0);

/// The losses of a data set (at most `max_steps` batches, negative: all), also into `meters`. A
/// batch's first_sequence counts the sequences of all batches before it, so that noise does not
/// depend on the batch size.
/// `stop` is asked before each batch; once it says true nothing is returned, as losses of a part of
/// the set must not be taken for those of all, and `meters` are to be thrown away.
std::optional<LossSums> evaluate_dataset(
    std::shared_ptr<const Dataset> dataset, const EpochIteratorOptions& iterator, int64_t max_steps,
    const CriterionOptions& criterion, const std::function<LossSums(const Batch&)>& evaluate,
    MeterGroup& meters, const std::function<bool()>& stop = [] { return false; });

/// One evaluation of a validation subset.
struct ValidationPass {
  std::string tag;  ///< in the log: the subset, with `_stage` behind it when as_trained
  bool as_trained = false;

  bool operator==(const ValidationPass&) const = default;
};

/// The evaluations of `subset` that --validate-routing (reference, stage or both) asks for, in
/// order.
std::vector<ValidationPass> validation_passes(const std::string& subset,
                                              const std::string& validate_routing);

/// The log line of an evaluation: its meters, the correlations of all of it, num_updates and the
/// perplexity.
LogLine validation_line(MeterGroup& meters, const LossSums& total,
                        const CriterionOptions& criterion, int64_t updates,
                        std::optional<int64_t> epoch = std::nullopt);

/// UsageError when validations of these options have no --best-checkpoint-metric.
void check_best_metric(const TrainOptions& options);

}  // namespace evomoe
