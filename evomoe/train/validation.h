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

/// The context of a forward pass without dropout. `as_trained`: with the routing of the present
/// training stage after `updates` completed ones. Its noise has a seed of its own (never numbers of
/// the training) and is keyed by update, sequence and position; the place of the batch's first
/// sequence is the caller's to set.
ForwardContext evaluation_context(const TrainOptions& options, const DeviceBatch& batch,
                                  bool as_trained, int64_t updates = 0);

/// The losses of one batch, without gradients. batch.first_sequence keys the noise of `as_trained`.
LossSums evaluate_batch(Gpt& model, const Criterion& criterion, const TrainOptions& options,
                        const Batch& batch, torch::Device device, bool as_trained,
                        int64_t updates = 0);

/// The losses of a data set (at most `max_steps` batches, negative: all), also into `meters`. A
/// batch's first_sequence counts the sequences of all batches before it, so that noise does not
/// depend on the batch size. Throws Error when the set has no tokens.
LossSums evaluate_dataset(std::shared_ptr<const Dataset> dataset,
                          const EpochIteratorOptions& iterator, int64_t max_steps, bool is_moe,
                          const std::function<LossSums(const Batch&)>& evaluate,
                          MeterGroup& meters);

}  // namespace evomoe
