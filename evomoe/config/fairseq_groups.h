#pragma once

#include <string>

/// How fairseq's Hydra files and overrides group options, where it is not as ours do
/// (`optimizer: adam_betas`, `model=roberta/base`).
namespace evomoe {

/// task, model, criterion, optimizer, lr_scheduler, dataset, optimization, checkpoint, common,
/// distributed_training and the like.
bool is_fairseq_group(const std::string& name);

/// Whether fairseq has options of our group `ours` in its group `theirs`.
bool fairseq_group_holds(const std::string& theirs, const std::string& ours);

/// The option that `group=name`, or `_name: name` in the group, chooses: `arch` for model. Empty:
/// none.
std::string chosen_option(const std::string& group);

/// Its value: `roberta/base` is roberta_base, `transformer_lm/transformer_lm_gpt` is
/// transformer_lm_gpt.
std::string chosen_value(const std::string& group, const std::string& name);

}  // namespace evomoe
