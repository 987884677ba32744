#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "evomoe/config/options.h"
#include "evomoe/data/dataset.h"
#include "evomoe/data/epoch_iterator.h"
#include "evomoe/models/gpt.h"
#include "evomoe/report/meters.h"
#include "evomoe/train/criterion.h"

/// Losses without training: a batch, a whole validation set.
namespace evomoe {

/// The tensors of a batch. Padding is marked only when there is some.
DeviceBatch to_device(const Batch& batch, int64_t padding_index, torch::Device device);

/// How batches of an EpochIterator are made: for training, or for validation (never shuffled).
EpochIteratorOptions iterator_options(const TrainOptions& options, bool training);

/// The context of a deterministic forward pass; `as_trained`: with the routing of the present
/// training stage.
ForwardContext evaluation_context(const TrainOptions& options, const DeviceBatch& batch,
                                  bool as_trained);

/// The losses of one batch, without gradients.
LossSums evaluate_batch(Gpt& model, const Criterion& criterion, const TrainOptions& options,
                        const Batch& batch, torch::Device device, bool as_trained);

/// The losses of a data set (at most `max_steps` batches, negative: all), also into `meters`.
/// Throws Error when it has no tokens.
LossSums evaluate_dataset(std::shared_ptr<const Dataset> dataset,
                          const EpochIteratorOptions& iterator, int64_t max_steps, bool is_moe,
                          const std::function<LossSums(const Batch&)>& evaluate,
                          MeterGroup& meters);

}  // namespace evomoe
