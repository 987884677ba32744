#include "evomoe/checkpoint/checkpoint_options.h"

#include "evomoe/config/option_table.h"

namespace evomoe {

void CheckpointOptions::describe(OptionTable& table) {
  table.group("checkpoint", "Checkpoints");
  table.add("save-dir", &save_dir, "The run folder: checkpoints, config.yaml, log.jsonl.")
      .metavar("FOLDER");
  table
      .add("restore-file", &restore_file,
           "Checkpoint to continue from, by name in save-dir or by path; x.pt: ours of that name, "
           "else "
           "fairseq's. With the three --reset flags only its weights are taken.")
      .metavar("NAME");
  table
      .add(
          "finetune-from-model", &finetune_from_model,
          "Checkpoint, ours or fairseq's (x.pt), whose weights a new run starts with; counters and "
          "optimiser start anew.")
      .metavar("PATH");
  table.add("init-from", &init_from, "safetensors file with the weights a new run starts with.")
      .metavar("FILE");
  table.add("reset-dataloader", &reset_dataloader, "Does not restore the position in the data.");
  table.add("reset-meters", &reset_meters, "Does not restore the meters.");
  table.add(
      "reset-optimizer", &reset_optimizer,
      "Does not restore the optimiser. The count of updates begins again too, and with it the "
      "schedule and the evolution.");
  table
      .add(
          "save-interval", &save_interval,
          "Epochs between checkpoints, checkpoint1, checkpoint2, ..., at their ends. The run's end "
          "is saved in any case.")
      .at_least(1);
  table
      .add("save-interval-updates", &save_interval_updates,
           "Updates between the checkpoints within epochs, checkpoint_1_500, ..., each with a "
           "validation; 0: none. As in fairseq, one that falls on the end of an epoch is "
           "save-interval's.")
      .at_least(0);
  table
      .add("keep-interval-updates", &keep_interval_updates,
           "How many of the newest checkpoints within epochs are kept; -1 or 0: all.")
      .at_least(-1);
  table
      .add("keep-last-epochs", &keep_last_epochs,
           "How many of the newest checkpoints of epoch ends are kept; -1 or 0: all.")
      .at_least(-1);
  table
      .add("keep-best-checkpoints", &keep_best_checkpoints,
           "How many of the best checkpoints are kept beside checkpoint_best; -1 or 0: none.")
      .at_least(-1);
  table.add("no-save", &no_save, "Writes nothing: no checkpoints, no config.yaml, no log.jsonl.");
  table.add("no-epoch-checkpoints", &no_epoch_checkpoints,
            "Writes no checkpoint1, checkpoint2, ... at the ends of epochs, as in fairseq not even "
            "where save-interval-updates falls on one; those within epochs, the best and the last "
            "are written.");
  table.add("no-last-checkpoints", &no_last_checkpoints, "Does not write checkpoint_last.");
  table.add("no-best-checkpoints", &no_best_checkpoints,
            "Writes neither checkpoint_best nor those of keep-best-checkpoints.");
  table.add("no-save-optimizer-state", &no_save_optimizer_state,
            "Leaves the optimiser's state out of checkpoints: smaller, but a run cannot go on "
            "from them exactly.");
  table.add("no-save-optimizer-state-on-training-finished",
            &no_save_optimizer_state_on_training_finished,
            "Leaves the optimiser's state out of the checkpoint at the end of the run, unless a "
            "signal ended it.");
  table
      .add("best-checkpoint-metric", &best_checkpoint_metric,
           "Validation metric that decides about the best.")
      .metavar("KEY");
  table.add("maximize-best-checkpoint-metric", &maximize_best_checkpoint_metric,
            "The largest value is the best.");
  table
      .add("patience", &patience,
           "Validations without improvement after which the run ends; -1 or 0: never.")
      .at_least(-1);
  table
      .add("write-checkpoints-asynchronously", &write_checkpoints_asynchronously,
           "Writes while training goes on.")
      .alias("save-async");
  table.add("symlink", &symlink, "checkpoint_last and checkpoint_best are links instead of copies.")
      .alias("symlink-best-and-last-checkpoints");
}

}  // namespace evomoe
