#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace evomoe {

class OptionTable;

/// Where a run begins, and which checkpoints it writes and keeps.
struct CheckpointOptions {
  std::string save_dir = "checkpoints";
  std::string restore_file = "checkpoint_last.pt";
  std::optional<std::string> finetune_from_model;
  std::optional<std::string> init_from;  ///< safetensors file with the initial weights
  bool reset_dataloader = false;
  bool reset_meters = false;
  bool reset_optimizer = false;
  int64_t save_interval = 1;           ///< epochs
  int64_t save_interval_updates = 0;   ///< 0: only at epoch ends
  int64_t keep_interval_updates = -1;  ///< -1: all
  int64_t keep_last_epochs = -1;       ///< -1: all
  int64_t keep_best_checkpoints = -1;  ///< -1: none
  bool no_save = false;
  bool no_epoch_checkpoints = false;
  bool no_last_checkpoints = false;
  bool no_best_checkpoints = false;
  bool no_save_optimizer_state = false;
  bool no_save_optimizer_state_on_training_finished = false;
  std::string best_checkpoint_metric = "loss";
  bool maximize_best_checkpoint_metric = false;
  int64_t patience = -1;  ///< validations without improvement before the run stops; -1: never
  bool write_checkpoints_asynchronously = false;
  bool symlink = false;

  void describe(OptionTable& table);
};

}  // namespace evomoe
