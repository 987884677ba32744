// language_modeling: each token of running text is predicted from those before it.
#include "evomoe/config/option_table.h"
#include "evomoe/config/task_checks.h"
#include "evomoe/config/task_declaration.h"

namespace evomoe {

void LanguageModelingOptions::describe(OptionTable& table) {
  table.add("add-bos-token", &add_bos_token, "Puts <s> before each sequence.");
  table.add("pad-to-fixed-length", &pad_to_fixed_length,
            "Pads each sequence to tokens-per-sample.");
  table.add("pad-to-fixed-bsz", &pad_to_fixed_bsz,
            "Pads each micro-batch to batch-size sequences.");
}

TaskDeclaration language_modeling_task() {
  return {.name = "language_modeling",
          .family = "language_model",
          .samples = true,
          .blocks = true,
          .describe = [](OptionTable& table,
                         TaskOptions& o) { o.LanguageModelingOptions::describe(table); },
          .validate =
              [](const TrainOptions& options) {
                const auto& task = options.task;
                // Other blocks may be shorter, and those that are not are left out as in the
                // reference.
                if (task.sample_break_mode == "none" || task.pad_to_fixed_length)
                  require_positions(options, options.model.max_target_positions,
                                    "--max-target-positions");
                require_whole_blocks(options);
              }};
}

}  // namespace evomoe
