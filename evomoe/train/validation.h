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
#include "evomoe/parallel/communicator.h"
#include "evomoe/report/log_line.h"
#include "evomoe/report/meters.h"
#include "evomoe/train/criterion.h"
#include "evomoe/train/options.h"

/// Losses without training: a batch, a whole validation set.
namespace evomoe {

/// The losses of one batch, without gradients. batch.first_sequence keys the noise of `as_trained`.
LossSums evaluate_batch(Model& model, const Criterion& criterion, const TrainOptions& options,
                        const Batch& batch, torch::Device device, bool as_trained,
                        int64_t updates = 0);

/// The losses of a data set over all ranks, also into `meters`. Every rank has equally many
/// batches. A batch's first_sequence counts the sequences of all batches of this rank before it, so
/// that noise does not depend on the batch size. `stop` is asked before each batch; once it says
/// true nothing is returned, as losses of a part of the set must not be taken for those of all, and
/// `meters` are to be thrown away.
std::optional<LossSums> evaluate_dataset(
    std::shared_ptr<const Dataset> dataset, const EpochIteratorOptions& iterator,
    const CriterionOptions& criterion, const std::function<LossSums(const Batch&)>& evaluate,
    MeterGroup& meters, Communicator& communicator,
    const std::function<bool()>& stop = [] { return false; });

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
