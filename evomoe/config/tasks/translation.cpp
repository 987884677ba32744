// translation: a sentence is predicted from one of another language.
#include "evomoe/config/describe_groups.h"
#include "evomoe/config/option_table.h"
#include "evomoe/config/task_declaration.h"

namespace evomoe {

void TranslationOptions::describe(OptionTable& table) {
  table.add("source-lang", &source_lang, "Source language; not given: from the files' names.")
      .alias("s")
      .metavar("LANG");
  table.add("target-lang", &target_lang, "Target language; not given: from the files' names.")
      .alias("t")
      .metavar("LANG");
  table.add("left-pad-source", &left_pad_source, "Pads sources on the left.");
  table.add("left-pad-target", &left_pad_target, "Pads targets on the left.");
  table.add("truncate-source", &truncate_source, "Cuts sources to max-source-positions.");
  table
      .add("upsample-primary", &upsample_primary,
           "How often train is read for each reading of train1, train2, ...; -1: once.")
      .synonyms({{"-1", "1"}})
      .at_least(1);
  describe_eval_bleu(table, bleu);
}

TaskDeclaration translation_task() {
  return {.name = "translation",
          .family = "encoder_decoder",
          .describe = [](OptionTable& table, TaskOptions& o) {
            o.TranslationOptions::describe(table);
          }};
}

}  // namespace evomoe
