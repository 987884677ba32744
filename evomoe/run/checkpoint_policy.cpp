#include "evomoe/run/checkpoint_policy.h"

namespace evomoe {

CheckpointPolicy checkpoint_policy(const TrainOptions& train_options) {
  const auto& options = train_options.checkpoint;
  CheckpointPolicy policy;
  policy.keep_interval_updates = options.keep_interval_updates;
  policy.keep_last_epochs = options.keep_last_epochs;
  policy.keep_best_checkpoints = options.keep_best_checkpoints;
  policy.best_metric = options.best_checkpoint_metric;
  policy.maximize_best = options.maximize_best_checkpoint_metric;
  policy.symlink = options.symlink;
  policy.asynchronous = saves_in_background(train_options);
  policy.no_save = options.no_save;
  policy.no_epoch_checkpoints = options.no_epoch_checkpoints;
  policy.no_last_checkpoints = options.no_last_checkpoints;
  policy.no_best_checkpoints = options.no_best_checkpoints;
  policy.no_save_optimizer_state = options.no_save_optimizer_state;
  policy.no_save_optimizer_state_on_training_finished =
      options.no_save_optimizer_state_on_training_finished;
  policy.validate();
  return policy;
}

bool saves_in_background(const TrainOptions& options) {
  return options.checkpoint.write_checkpoints_asynchronously && !options.resources.offload_moments;
}

}  // namespace evomoe
