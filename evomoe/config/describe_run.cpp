// How it is trained: optimisation, data, checkpoints, the process.
#include "evomoe/config/describe_groups.h"

namespace evomoe {
namespace {

void describe_device(OptionTable& table, CommonOptions& o) {
  table.add("device", &o.device, "Device; auto: CUDA if there is one.")
      .choices({"auto", "cpu", "cuda"});
  table.shorthand("cpu", "device", "cpu", "Computes on the CPU.");
  table
      .add("threads", &o.threads,
           "CPU threads of the computation; 0: one for each core, fewer while other programs use "
           "the cores (measured during the run).")
      .range(0, 4096);
}

}  // namespace

void describe_optimization(OptionTable& table, OptimizationOptions& o) {
  table.group("optimization", "Optimisation");
  table
      .add("lr", &o.lr,
           "Learning rate, one per epoch; the last one stays. The default is fairseq's and far too "
           "high for Adam.")
      .at_least(0);
  table.add("lr-scheduler", &o.lr_scheduler, "Learning-rate schedule.")
      .choices({"polynomial_decay", "inverse_sqrt", "cosine", "fixed"})
      .unsupported(
          {"manual", "pass_through", "reduce_lr_on_plateau", "step", "tri_stage", "triangular"},
          "use polynomial_decay, inverse_sqrt or cosine, or fixed with an --lr for each "
          "epoch");
  table
      .add("warmup-updates", &o.warmup_updates,
           "Updates of linear warm-up; not given: 4000 for inverse_sqrt, else 0.")
      .at_least(0);
  table.add("warmup-init-lr", &o.warmup_init_lr,
            "Learning rate at the start of warm-up; below 0: the scheduler's own.");
  table
      .add("total-num-update", &o.total_num_update,
           "polynomial_decay: update at which it ends; not given: max-update.")
      .at_least(1);
  table
      .add("end-learning-rate", &o.end_learning_rate,
           "polynomial_decay: learning rate at its "
           "end.")
      .at_least(0);
  table.add("power", &o.power, "polynomial_decay: exponent.").above(0);
  table
      .add("lr-shrink", &o.lr_shrink,
           "fixed: factor per epoch from force-anneal on; cosine: factor per period.")
      .above(0);
  table
      .add("force-anneal", &o.force_anneal,
           "fixed: epoch from which the rate shrinks by lr-shrink. Other schedules ignore it; "
           "the reference's polynomial_decay would restart its decay in each such epoch.")
      .alias("fa")
      .at_least(1);
  table.add("min-lr", &o.min_lr, "cosine: lowest rate.").at_least(0);
  table
      .add("lr-period-updates", &o.lr_period_updates,
           "cosine: updates of the first period; -1 or 0: all after the warm-up.")
      .at_least(-1);
  table
      .add("t-mult", &o.t_mult,
           "cosine: each period is longer than the one before by this "
           "factor.")
      .at_least(1);
  table
      .add("update-freq", &o.update_freq,
           "Micro-batches of one update, one number per epoch; the last one stays.")
      .at_least(1);
  table.add("clip-norm", &o.clip_norm, "Largest norm of the gradient; 0: no limit.").at_least(0);
  table.add("max-update", &o.max_update, "Updates of the run; 0: no limit.").at_least(0);
  table.add("max-epoch", &o.max_epoch, "Epochs of the run; 0: no limit.").at_least(0);
  table
      .add("stop-time-hours", &o.stop_time_hours,
           "Hours after which the run ends, earlier parts included; 0: no limit.")
      .at_least(0);
  table.add("stop-min-lr", &o.stop_min_lr,
            "The run ends at the end of an epoch if the rate is at most this and the warm-up is "
            "over.");
  table
      .add("on-non-finite", &o.on_non_finite,
           "If a loss or gradient is NaN or Inf: stop the run, or skip the update.")
      .choices({"stop", "skip"});
}

void describe_dataset(OptionTable& table, DatasetOptions& o) {
  table.group("dataset", "Data and validation");
  table
      .add("max-tokens", &o.max_tokens,
           "Most tokens of a micro-batch, padding included. Longer sequences are left out of "
           "training with a warning.")
      .at_least(1);
  table.add("batch-size", &o.batch_size, "Most sequences of a micro-batch.")
      .alias("max-sentences")
      .at_least(1);
  table
      .add(
          "max-tokens-valid", &o.max_tokens_valid,
          "As max-tokens, in validation, where a longer sequence is an error; not given: the same.")
      .at_least(1);
  table
      .add("batch-size-valid", &o.batch_size_valid,
           "As batch-size, in validation; not given: the same.")
      .alias("max-sentences-valid")
      .at_least(1);
  table
      .add("required-batch-size-multiple", &o.required_batch_size_multiple,
           "Sequences of a micro-batch are a multiple of this, where max-tokens limits it.")
      .at_least(1);
  table.add("num-workers", &o.num_workers, "Threads that prepare batches ahead; 0: none.")
      .range(0, 256);
  table.add("curriculum", &o.curriculum, "Epochs at the start without shuffling.").at_least(0);
  table.add("train-subset", &o.train_subset, "Split to train on.").metavar("NAME");
  table
      .add("valid-subset", &o.valid_subset,
           "Splits to validate on; the first one decides about the best checkpoint.")
      .metavar("NAME,...");
  table
      .add("combine-valid-subsets", &o.combine_valid_subsets,
           "Joins valid, valid1, ... into "
           "one.")
      .alias("combine-val");
  table.add("ignore-unused-valid-subsets", &o.ignore_unused_valid_subsets,
            "Splits valid1, ... that --valid-subset does not name are ignored, not an error.");
  table.add("validate-interval", &o.validate_interval, "Validates at the end of every Nth epoch.")
      .at_least(1);
  table
      .add("validate-interval-updates", &o.validate_interval_updates,
           "Updates between validations; 0: only with the checkpoints of save-interval-updates. "
           "There are also those of validate-interval, and one at the end of the run.")
      .at_least(0);
  table
      .add("validate-after-updates", &o.validate_after_updates,
           "Before this update neither validate-interval-updates nor save-interval-updates has "
           "an effect; validations and checkpoints at the ends of epochs are made.")
      .at_least(0);
  table.add("max-valid-steps", &o.max_valid_steps, "Batches of a validation.")
      .alias("nval")
      .at_least(1);
  table.add("disable-validation", &o.disable_validation, "No validation.");
  table.add("skip-invalid-size-inputs-valid-test", &o.skip_invalid_size_inputs_valid_test,
            "Sequences of validation splits that are longer than the model's positions or "
            "max-tokens-valid are left out with a warning instead of being an error.");
}

void describe_checkpoint(OptionTable& table, CheckpointOptions& o) {
  table.group("checkpoint", "Checkpoints");
  table.add("save-dir", &o.save_dir, "The run folder: checkpoints, config.yaml, log.jsonl.")
      .metavar("FOLDER");
  table
      .add("restore-file", &o.restore_file,
           "Checkpoint to continue from, by name in save-dir or by path; x.pt: ours of that name, "
           "else "
           "fairseq's. With the three --reset flags only its weights are taken.")
      .metavar("NAME");
  table
      .add(
          "finetune-from-model", &o.finetune_from_model,
          "Checkpoint, ours or fairseq's (x.pt), whose weights a new run starts with; counters and "
          "optimiser start anew.")
      .metavar("PATH");
  table.add("init-from", &o.init_from, "safetensors file with the weights a new run starts with.")
      .metavar("FILE");
  table.add("reset-dataloader", &o.reset_dataloader, "Does not restore the position in the data.");
  table.add("reset-meters", &o.reset_meters, "Does not restore the meters.");
  table.add(
      "reset-optimizer", &o.reset_optimizer,
      "Does not restore the optimiser. The count of updates begins again too, and with it the "
      "schedule and the evolution.");
  table
      .add(
          "save-interval", &o.save_interval,
          "Epochs between checkpoints, checkpoint1, checkpoint2, ..., at their ends. The run's end "
          "is saved in any case.")
      .at_least(1);
  table
      .add("save-interval-updates", &o.save_interval_updates,
           "Updates between the checkpoints within epochs, checkpoint_1_500, ..., each with a "
           "validation; 0: none. As in fairseq, one that falls on the end of an epoch is "
           "save-interval's.")
      .at_least(0);
  table
      .add("keep-interval-updates", &o.keep_interval_updates,
           "How many of the newest checkpoints within epochs are kept; -1 or 0: all.")
      .at_least(-1);
  table
      .add("keep-last-epochs", &o.keep_last_epochs,
           "How many of the newest checkpoints of epoch ends are kept; -1 or 0: all.")
      .at_least(-1);
  table
      .add("keep-best-checkpoints", &o.keep_best_checkpoints,
           "How many of the best checkpoints are kept beside checkpoint_best; -1 or 0: none.")
      .at_least(-1);
  table.add("no-save", &o.no_save, "Writes nothing: no checkpoints, no config.yaml, no log.jsonl.");
  table.add("no-epoch-checkpoints", &o.no_epoch_checkpoints,
            "Writes no checkpoint1, checkpoint2, ... at the ends of epochs, as in fairseq not even "
            "where save-interval-updates falls on one; those within epochs, the best and the last "
            "are written.");
  table.add("no-last-checkpoints", &o.no_last_checkpoints, "Does not write checkpoint_last.");
  table.add("no-best-checkpoints", &o.no_best_checkpoints,
            "Writes neither checkpoint_best nor those of keep-best-checkpoints.");
  table.add("no-save-optimizer-state", &o.no_save_optimizer_state,
            "Leaves the optimiser's state out of checkpoints: smaller, but a run cannot go on "
            "from them exactly.");
  table.add("no-save-optimizer-state-on-training-finished",
            &o.no_save_optimizer_state_on_training_finished,
            "Leaves the optimiser's state out of the checkpoint at the end of the run, unless a "
            "signal ended it.");
  table
      .add("best-checkpoint-metric", &o.best_checkpoint_metric,
           "Validation metric that decides about the best.")
      .metavar("KEY");
  table.add("maximize-best-checkpoint-metric", &o.maximize_best_checkpoint_metric,
            "The largest value is the best.");
  table
      .add("patience", &o.patience,
           "Validations without improvement after which the run ends; -1 or 0: never.")
      .at_least(-1);
  table
      .add("write-checkpoints-asynchronously", &o.write_checkpoints_asynchronously,
           "Writes while training goes on.")
      .alias("save-async");
  table
      .add("symlink", &o.symlink,
           "checkpoint_last and checkpoint_best are links instead of copies.")
      .alias("symlink-best-and-last-checkpoints");
}

void describe_resources(OptionTable& table, ResourceOptions& o) {
  table.group("resources", "Time and memory");
  table
      .add("profile", &o.profile,
           "Measures this number of updates (without a number: 100), after 3 of warm-up: prints "
           "where their time went, and writes profile.json into the run folder, a trace for "
           "Perfetto (docs/profiling.md).")
      .bare("100")
      .at_least(1);
  table
      .add("memory-budget", &o.memory_budget,
           "Most memory of the process, e.g. 8G: turns on recompute-experts and "
           "checkpoint-activations if needed to stay below it, and refuses a run that does not "
           "fit (docs/profiling.md).")
      .metavar("SIZE");
  table
      .add("offload-moments", &o.offload_moments,
           "Folder on whose disk the optimiser's moments of 1 MiB and more live instead of in "
           "memory (Adam's are half of a dense run's memory; docs/optimizers.md); "
           "each update reads and writes them all. Checkpoints are then not written in the "
           "background.")
      .metavar("FOLDER");
}

void describe_common(OptionTable& table, CommonOptions& o) {
  table.group("common", "Process");
  table.add("seed", &o.seed, "Seed of every random number.").at_least(0);
  table.add("log-format", &o.log_format, "Form of the log on stdout.")
      .choices({"json", "simple", "tqdm", "none"});
  table.add("log-interval", &o.log_interval, "Updates between log lines.").at_least(1);
  describe_device(table, o);
}

void describe_process(OptionTable& table, CommonOptions& o) {
  table.group("common", "Process");
  table.add("log-format", &o.log_format, "Form of the result on stdout.")
      .choices({"json", "simple"});
  describe_device(table, o);
}

}  // namespace evomoe
