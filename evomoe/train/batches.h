#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "evomoe/data/dataset.h"
#include "evomoe/data/epoch_iterator.h"
#include "evomoe/models/model.h"
#include "evomoe/parallel/rank_place.h"
#include "evomoe/train/options.h"

/// Batches: how they are made, and their tensors.
namespace evomoe {

/// How batches of an EpochIterator are made: for training, or for validation (never shuffled);
/// those of one rank.
EpochIteratorOptions iterator_options(const TrainOptions& options, bool training,
                                      const RankPlace& place = {});

/// A micro-batch on the model's device.
struct DeviceBatch {
  ModelInput input;
  torch::Tensor target;      ///< int64 [B,U], U = S but in translation; or one class a row, [B,1]
                             ///< (regression: float32, a number)
  int64_t sequences = 0;     ///< real ones
  int64_t tokens = 0;        ///< as Batch::tokens
  bool few_targets = false;  ///< as Batch::few_targets
};

/// The tensors of a batch. Padding is marked only when there is some.
DeviceBatch to_device(const Batch& batch, int64_t padding_index, torch::Device device);

}  // namespace evomoe
