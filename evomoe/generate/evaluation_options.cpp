#include "evomoe/generate/evaluation_options.h"

#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/legacy/legacy_flags.h"
#include "evomoe/moe/moe_options.h"
#include "evomoe/train/options.h"

namespace evomoe {

void EvaluationOptions::describe(OptionTable& table) {
  table.positional("data", &data, "data-bin folder, or several as a:b:c.")
      .metavar("DATA")
      .required();
  table.add("max-tokens", &max_tokens, "Most tokens of a batch; not given: as in training.")
      .at_least(1);
  table.add("batch-size", &batch_size, "Most sequences of a batch; not given: as in training.")
      .alias("max-sentences")
      .at_least(1);
  table.add("max-valid-steps", &max_valid_steps, "Batches to evaluate.").alias("nval").at_least(1);
  table.add("tokens-per-sample", &tokens_per_sample, "Longest sequence; not given: as in training.")
      .range(1, 1 << 20);
  table
      .add("sample-break-mode", &sample_break_mode,
           "How the text is cut; not given: as in training.")
      .choices({"none", "complete", "complete_doc", "eos"});
  table.add("moe-eval-capacity-token-fraction", &moe_eval_capacity_token_fraction,
            "Capacity as a fraction of the tokens; not given: as in training.");
  describe_dtype(table, dtype);
}

void ValidateOptions::describe(OptionTable& table) {
  EvaluationOptions::describe(table);
  table.add("path", &path, "Checkpoint, ours or fairseq's (x.pt).")
      .metavar("CHECKPOINT")
      .required();
  table.add("skip-invalid-size-inputs-valid-test", &skip_invalid_size_inputs_valid_test,
            "Leaves out sequences that are longer than the model's positions or max-tokens, with a "
            "warning; not given: as in training, where they are an error without it.");
  table
      .add("max-source-positions", &max_source_positions,
           "translation: longest source; not given: as in training.")
      .at_least(1);
  table
      .add("max-target-positions", &max_target_positions,
           "Longest sequence (translation: target); not given: as in training.")
      .at_least(1);
  table
      .add("max-positions", &max_positions, "RoBERTa: longest sequence; not given: as in training.")
      .at_least(1);
  table.add("valid-subset", &valid_subset, "Splits to validate on.").metavar("NAME,...");
  table
      .add("required-batch-size-multiple", &required_batch_size_multiple,
           "Sequences of a batch are a multiple of this, where max-tokens limits it; not given: as "
           "in training.")
      .at_least(1);
  table.add("truncate-source", &truncate_source,
            "translation: cuts sources to the model's positions; not given: as in training.");
  describe_validate_routing(table, validate_routing);
  table.add("num-workers", &num_workers, "Threads that prepare batches ahead; 0: none.")
      .range(0, 256);
  bleu.describe(table);
  common.describe_of_result(table);
  distributed.describe_of_result(table);
  table.example("evomoe validate data-bin --path runs/a/checkpoint_best",
                "the best checkpoint of a run");
  add_legacy_flags_of_evaluation(table, "validate");
}

void EvalLmOptions::describe(OptionTable& table) {
  EvaluationOptions::describe(table);
  describe_checkpoint_path(table, path);
  table.add("gen-subset", &gen_subset, "Split to evaluate.").metavar("NAME");
  table
      .add("context-window", &context_window,
           "Tokens of earlier text that each sequence is prefixed with, unscored.")
      .at_least(0);
  table.add("output-word-probs", &output_word_probs,
            "Prints, for each line of text, its words with the binary logarithm of their "
            "probability. A word is a run of characters without white space; its tokens are "
            "joined.");
  table.add("output-word-stats", &output_word_stats,
            "Prints each word, how often it comes, and the mean of that logarithm.");
  table
      .add("stats-path", &stats_path, "JSON file for the results; `.json` is appended to the name.")
      .alias("sp")
      .metavar("FILE");
  bpe.describe(table);
  common.describe_of_result(table);
  distributed.describe_of_result(table);
  table.example("evomoe eval-lm data-bin --path runs/a/checkpoint_best --context-window 256",
                "perplexity with context across sequences");
  add_legacy_flags_of_evaluation(table, "eval-lm");
}

void validate_options(const ValidateOptions& options) {
  if (!options.bleu.eval_bleu && options.bleu != EvalBleuOptions()) {
    fail_usage(
        "--eval-bleu-... and --eval-tokenized-bleu need --eval-bleu, without which validate does "
        "what the training did; add it");
  }
  validate_bleu(options.bleu, options.validate_routing);
}

void validate_options(const EvalLmOptions& options) {
  validate_options(options.bpe);
  if (options.tokens_per_sample && options.context_window >= *options.tokens_per_sample) {
    fail_usage(
        "--context-window {} leaves no token to score of --tokens-per-sample {}; make it smaller",
        options.context_window, *options.tokens_per_sample);
  }
}

void describe_checkpoint_path(OptionTable& table, std::string& path) {
  table
      .add("path", &path,
           "Checkpoint, ours or fairseq's (x.pt), or several as a:b:c, whose probabilities are "
           "averaged.")
      .metavar("CHECKPOINT")
      .required();
}

void describe_dtype(OptionTable& table, std::string& dtype) {
  table
      .add("dtype", &dtype,
           "Type of the model's matrices. bfloat16, on the CPU: rounded, for half the memory and "
           "faster generation; what is computed with them stays float32.")
      .choices({"float32", "bfloat16"});
}

void add_legacy_flags_of_evaluation(OptionTable& table, const std::string& command) {
  TrainOptions options;
  OptionTable train("train", "");
  options.describe(train);
  add_legacy_flags(table, command, train);
}

}  // namespace evomoe
