#include "evomoe/train/contexts.h"

#include <algorithm>

#include "evomoe/moe/evolution.h"

namespace evomoe {
namespace {

/// One of the run's seed that no site of the training draws with.
uint64_t validation_seed(uint64_t seed) {
  NoiseKey key;
  key.seed = seed;
  key.site = NoiseSite::kValidation;
  const auto words = philox_key(key);
  return (uint64_t{words[1]} << 32) | words[0];
}

}  // namespace

ForwardContext training_context(const TrainOptions& options, const Batch& batch, int64_t updates,
                                Communicator& communicator) {
  ForwardContext context;
  context.training = true;
  context.schedule = stage_at(options.evolution, updates).schedule;
  context.noise.seed = static_cast<uint64_t>(options.common.seed);
  context.noise.update = static_cast<uint32_t>(updates);
  context.noise.first_sequence = static_cast<uint32_t>(batch.first_sequence);
  context.mask_padding_in_moe = options.moe.use_moe_pad_mask;
  context.padded_batch = options.dataset.batch_size.value_or(0);
  context.communicator = &communicator;
  context.stands_in = batch.stands_in;
  return context;
}

ForwardContext evaluation_context(const TrainOptions& options, bool as_trained, int64_t updates) {
  ForwardContext context;
  context.route_as_trained = as_trained;
  // Some methods follow their stage in evaluation too (noisy gate weights): that of the last
  // update.
  context.schedule = stage_at(options.evolution, std::max<int64_t>(updates - 1, 0)).schedule;
  context.noise.seed = validation_seed(static_cast<uint64_t>(options.common.seed));
  context.noise.update = static_cast<uint32_t>(updates);
  context.mask_padding_in_moe = options.moe.use_moe_pad_mask;
  context.padded_batch =
      options.dataset.batch_size_valid.value_or(options.dataset.batch_size.value_or(0));
  return context;
}

ForwardContext unpadded_context(const TrainOptions& options, int64_t updates) {
  auto context = evaluation_context(options, /*as_trained=*/false, updates);
  context.padded_batch = 0;
  return context;
}

}  // namespace evomoe
