// supervised_finetuning: the answer to a prompt is predicted, token by token.
#include "evomoe/base/error.h"
#include "evomoe/config/option_table.h"
#include "evomoe/config/task_checks.h"
#include "evomoe/config/task_declaration.h"

namespace evomoe {
namespace {

void validate_answers(const TrainOptions& options) {
  require_positions(options, options.model.max_target_positions, "--max-target-positions");
  if (options.criterion.ignore_prefix_size > 0) {
    fail_usage(
        "--ignore-prefix-size {} with --task supervised_finetuning: prompts have no loss anyway; "
        "leave it out",
        options.criterion.ignore_prefix_size);
  }
  if (options.task.pack_examples && options.criterion.sentence_avg) {
    fail_usage(
        "--sentence-avg with --pack-examples: a row holds several examples, so that it would not "
        "average over them; leave one of the two out");
  }
}

}  // namespace

void SupervisedFinetuningOptions::describe(OptionTable& table) {
  table.add("truncate-prompt", &truncate_prompt,
            "Cuts prompts on their left where an example is longer than tokens-per-sample; not "
            "given: such examples are left out.");
  table.add("pack-examples", &pack_examples,
            "Training: a row holds several whole examples, as many as fit into tokens-per-sample. "
            "Each sees itself alone, as in a row of its own.");
}

TaskDeclaration supervised_finetuning_task() {
  return {.name = "supervised_finetuning",
          .family = "language_model",
          .samples = true,
          .describe = [](OptionTable& table,
                         TaskOptions& o) { o.SupervisedFinetuningOptions::describe(table); },
          .validate = validate_answers};
}

}  // namespace evomoe
