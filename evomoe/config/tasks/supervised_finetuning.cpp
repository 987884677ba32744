// supervised_finetuning: the answer to a prompt is predicted, token by token.
#include "evomoe/config/option_table.h"
#include "evomoe/config/task_declaration.h"

namespace evomoe {

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
          .describe = [](OptionTable& table, TaskOptions& o) {
            o.SupervisedFinetuningOptions::describe(table);
          }};
}

}  // namespace evomoe
