#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evomoe/parallel/distributed_options.h"
#include "evomoe/text/bpe_options.h"
#include "evomoe/train/eval_bleu.h"
#include "evomoe/train/process_options.h"

namespace evomoe {

class OptionTable;

/// What `validate` and `eval-lm` are both told. What is empty comes from the checkpoint.
struct EvaluationOptions {
  std::string data;
  std::string path;  ///< checkpoint
  std::optional<int64_t> max_tokens;
  std::optional<int64_t> batch_size;
  std::optional<int64_t> max_valid_steps;
  std::optional<int64_t> tokens_per_sample;
  std::optional<std::string> sample_break_mode;
  std::optional<double> moe_eval_capacity_token_fraction;
  std::string dtype = "float32";
  CommonOptions common;
  DistributedOptions distributed;

  void describe(OptionTable& table);
};

/// `evomoe validate DATA --path CHECKPOINT`.
struct ValidateOptions : EvaluationOptions {
  std::vector<std::string> valid_subset = {"valid"};
  bool skip_invalid_size_inputs_valid_test = false;
  std::string validate_routing = "reference";
  std::optional<int64_t> max_source_positions, max_target_positions, max_positions;
  std::optional<int64_t> required_batch_size_multiple;
  bool truncate_source = false;
  int64_t num_workers = 1;
  EvalBleuOptions bleu;  ///< without eval_bleu: as in training

  void describe(OptionTable& table);
};

/// `evomoe eval-lm DATA --path CHECKPOINT`.
struct EvalLmOptions : EvaluationOptions {
  std::string gen_subset = "test";
  int64_t context_window = 0;
  bool output_word_probs = false;
  bool output_word_stats = false;
  std::optional<std::string> stats_path;
  BpeFiles bpe;

  void describe(OptionTable& table);
};

/// Refuse combinations that cannot work, before any data is touched: a UsageError names the
/// options, their values and the remedy.
void validate_options(const ValidateOptions& options);
void validate_options(const EvalLmOptions& options);

/// --path of what takes ensembles.
void describe_checkpoint_path(OptionTable& table, std::string& path);

/// --dtype of what computes with a checkpoint's weights.
void describe_dtype(OptionTable& table, std::string& dtype);

/// The flags of fairseq that the command has no use for, and those of training, with which the
/// reference's own scripts call it. To be called when the table has all others.
void add_legacy_flags_of_evaluation(OptionTable& table, const std::string& command);

}  // namespace evomoe
