// language_modeling: each token of running text is predicted from those before it.
#include "evomoe/config/option_table.h"
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
          .describe = [](OptionTable& table, TaskOptions& o) {
            o.LanguageModelingOptions::describe(table);
          }};
}

}  // namespace evomoe
