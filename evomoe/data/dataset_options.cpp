#include "evomoe/data/dataset_options.h"

#include "evomoe/config/option_table.h"

namespace evomoe {

void DatasetOptions::describe(OptionTable& table) {
  table.group("dataset", "Data and validation");
  table
      .add("max-tokens", &max_tokens,
           "Most tokens of a micro-batch, padding included. Longer sequences are left out of "
           "training with a warning.")
      .at_least(1);
  table.add("batch-size", &batch_size, "Most sequences of a micro-batch.")
      .alias("max-sentences")
      .at_least(1);
  table
      .add(
          "max-tokens-valid", &max_tokens_valid,
          "As max-tokens, in validation, where a longer sequence is an error; not given: the same.")
      .at_least(1);
  table
      .add("batch-size-valid", &batch_size_valid,
           "As batch-size, in validation; not given: the same.")
      .alias("max-sentences-valid")
      .at_least(1);
  table
      .add("required-batch-size-multiple", &required_batch_size_multiple,
           "Sequences of a micro-batch are a multiple of this, where max-tokens limits it.")
      .at_least(1);
  table.add("num-workers", &num_workers, "Threads that prepare batches ahead; 0: none.")
      .range(0, 256);
  table.add("curriculum", &curriculum, "Epochs at the start without shuffling.").at_least(0);
  table.add("train-subset", &train_subset, "Split to train on.").metavar("NAME");
  table
      .add("valid-subset", &valid_subset,
           "Splits to validate on; the first one decides about the best checkpoint.")
      .metavar("NAME,...");
  table
      .add("combine-valid-subsets", &combine_valid_subsets,
           "Joins valid, valid1, ... into "
           "one.")
      .alias("combine-val");
  table.add("ignore-unused-valid-subsets", &ignore_unused_valid_subsets,
            "Splits valid1, ... that --valid-subset does not name are ignored, not an error.");
  table.add("validate-interval", &validate_interval, "Validates at the end of every Nth epoch.")
      .at_least(1);
  table
      .add("validate-interval-updates", &validate_interval_updates,
           "Updates between validations; 0: only with the checkpoints of save-interval-updates. "
           "There are also those of validate-interval, and one at the end of the run.")
      .at_least(0);
  table
      .add("validate-after-updates", &validate_after_updates,
           "Before this update neither validate-interval-updates nor save-interval-updates has "
           "an effect; validations and checkpoints at the ends of epochs are made.")
      .at_least(0);
  table.add("max-valid-steps", &max_valid_steps, "Batches of a validation.")
      .alias("nval")
      .at_least(1);
  table.add("disable-validation", &disable_validation, "No validation.");
  table.add("skip-invalid-size-inputs-valid-test", &skip_invalid_size_inputs_valid_test,
            "Sequences of validation splits that are longer than the model's positions or "
            "max-tokens-valid are left out with a warning instead of being an error.");
}

}  // namespace evomoe
