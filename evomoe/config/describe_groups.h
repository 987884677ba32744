#pragma once

#include "evomoe/config/option_table.h"
#include "evomoe/config/options.h"

/// The parts from which the tables of the commands are put together (describe.h).
namespace evomoe {

/// `arch`, which must outlive the table, decides about the task that is not given.
void describe_task(OptionTable& table, TaskOptions& options, const std::string& arch);
void describe_model(OptionTable& table, ModelOptions& options);
void describe_criterion(OptionTable& table, CriterionOptions& options);
void describe_optimization(OptionTable& table, OptimizationOptions& options);
void describe_dataset(OptionTable& table, DatasetOptions& options);
void describe_checkpoint(OptionTable& table, CheckpointOptions& options);
void describe_resources(OptionTable& table, ResourceOptions& options);
void describe_common(OptionTable& table, CommonOptions& options);
/// As describe_common, for a command that prints a result and no log of updates.
void describe_process(OptionTable& table, CommonOptions& options);
void describe_bpe_files(OptionTable& table, BpeFiles& options);
void describe_validate_routing(OptionTable& table, std::string& validate_routing);
/// --path of what takes ensembles.
void describe_checkpoints(OptionTable& table, std::string& path);
void describe_eval_bleu(OptionTable& table, EvalBleuOptions& options);
/// What --eval-bleu-args may hold.
void describe_bleu_search(OptionTable& table, GenerateOptions& options);

// The reference's flags that mean nothing here, or are not supported. To be called when the table
// has all others.
void describe_legacy_preprocess(OptionTable& table);
void describe_legacy_train(OptionTable& table);
/// Of the commands that read a checkpoint: also what the checkpoint says, and what only training
/// uses, with which the reference's own scripts call them. `train`: the table of training.
void describe_legacy_evaluation(OptionTable& table, const OptionTable& train);
/// Models, tasks, optimisers and schedules: a part of describe_legacy_train.
void describe_legacy_training(OptionTable& table);

}  // namespace evomoe
